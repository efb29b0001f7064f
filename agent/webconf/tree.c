/* The statements of a file. */
#include <stdlib.h>

#include "base/memory.h"
#include "webconf/inside.h"

/* Room for one more in an array of n that grows by doubling. */
static void *room_for(void *array, size_t n, size_t size)
{
	if (n & (n - 1))
		return array;
	return xrealloc(array, (n ? 2 * n : 1) * size);
}

struct node *nodes_add(struct nodes *list)
{
	list->v = room_for(list->v, list->n, sizeof *list->v);
	struct node *node = &list->v[list->n++];
	*node = (struct node){0};
	return node;
}

struct word *node_add_word(struct node *node, const char *text, size_t len, size_t from, size_t to, bool quoted)
{
	node->words = room_for(node->words, node->nwords, sizeof *node->words);
	struct word *word = &node->words[node->nwords++];
	*word = (struct word){.text = xstrndup(text, len), .from = from, .to = to, .quoted = quoted};
	return word;
}

void nodes_done(struct nodes *list)
{
	for (size_t i = 0; i < list->n; i++) {
		struct node *node = &list->v[i];
		struct nodes below = {node->children, node->nchildren};
		for (size_t j = 0; j < node->nwords; j++)
			free(node->words[j].text);
		free(node->words);
		nodes_done(&below); /* as deep as WEBCONF_DEPTH_MAX */
	}
	free(list->v);
	*list = (struct nodes){0};
}
