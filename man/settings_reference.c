/* Runs while certswap is built: copies a manual page and puts the reference of the option table in the place of the
 * line that says `.\" REFERENCE`.  settings_reference TEMPLATE OUTPUT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "settings/settings.h"

int main(int argc, char **argv)
{
	char *line = NULL;
	size_t size = 0;
	int places = 0;
	FILE *in = argc == 3 ? fopen(argv[1], "re") : NULL;
	FILE *out = in ? fopen(argv[2], "we") : NULL;
	if (!out) {
		perror("settings_reference TEMPLATE OUTPUT");
		return 1;
	}
	while (getline(&line, &size, in) > 0) {
		if (strcmp(line, ".\\\" REFERENCE\n") == 0) {
			settings_reference(out);
			places++;
		} else {
			fputs(line, out);
		}
	}
	free(line);
	fclose(in);
	return fclose(out) == 0 && places == 1 ? 0 : 1;
}
