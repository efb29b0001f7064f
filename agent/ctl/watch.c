#include "ctl/watch.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "base/memory.h"

static void draw(struct ctl *ctl, const char *screen)
{
	if (!isatty(fileno(ctl->out))) {
		fprintf(ctl->out, "%s\n", screen);
	} else {
		fputs("\033[H\033[2J", ctl->out);
		fputs(screen, ctl->out);
		fputs("\nq ends this.\n", ctl->out);
	}
	fflush(ctl->out);
}

/* Waits a second, or less where somebody wants to stop. A poll with a timeout, as the agent has no events to wait for.
 */
static bool wants_more(int signals, bool keys, int out)
{
	struct pollfd p[3] = {
		{.fd = signals, .events = POLLIN}, {.fd = keys ? STDIN_FILENO : -1, .events = POLLIN}, {.fd = out}};
	int n = poll(p, 3, WATCH_EVERY_MS);
	if (n < 0)
		return errno == EINTR;
	struct signalfd_siginfo signal; /* taken off, or it would come once it is no longer blocked */
	if (p[0].revents)
		return read(signals, &signal, sizeof signal) < 0;
	if (p[2].revents)
		return false;
	if (!p[1].revents)
		return true;
	char c = 0;
	return read(STDIN_FILENO, &c, 1) == 1 && c != 'q' && c != 'Q' && c != CTRL('C') && c != CTRL('D');
}

static bool take_keys(struct termios *ret_before)
{
	if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, ret_before) < 0)
		return false;
	struct termios raw = *ret_before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	return tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

int watch_run(struct ctl *ctl, char *(*render)(void *data))
{
	struct termios before;
	sigset_t ending, old;
	sigemptyset(&ending);
	sigaddset(&ending, SIGINT);
	sigaddset(&ending, SIGTERM);
	sigaddset(&ending, SIGHUP);
	sigprocmask(SIG_BLOCK, &ending, &old);
	AUTO_CLOSE int signals = signalfd(-1, &ending, SFD_CLOEXEC);
	bool keys = take_keys(&before);
	char *last = NULL;
	do {
		char *screen = render(ctl);
		if (!last || strcmp(last, screen) != 0)
			draw(ctl, screen);
		free(last);
		last = screen;
	} while (wants_more(signals, keys, fileno(ctl->out)));
	free(last);
	if (keys)
		tcsetattr(STDIN_FILENO, TCSANOW, &before);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return CTL_DONE;
}
