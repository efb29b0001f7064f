#include "ctl/commands.h"

#include "base/memory.h"
#include "ctl/ctl.h"

int command_help(struct ctl *ctl, const struct args *a)
{
	int words = 0;
	const struct command *c = command_find((int)a->operands.n, a->operands.v, &words);
	if (a->operands.n && (!c || (size_t)words != a->operands.n)) {
		AUTO_FREE char *asked = words_join(&a->operands, " ");
		const char *near = command_near(asked);
		return ctl_usage(ctl, "there is no command %s%s%s%s", asked, near ? "; did you mean " : "",
				 near ? near : "", near ? "?" : "");
	}
	if (args_has(a, OPTION_WORDS))
		command_print_words(c, ctl->out);
	else if (c)
		command_print_help(c, ctl->out);
	else
		command_print_list(ctl->out);
	return CTL_DONE;
}
