/* What the agent answers, drawn for people. */
#ifndef CTL_SHOW_H
#define CTL_SHOW_H
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

/* The result of `status` (CONTRACT "status --json") as a table of 100 columns at most. now: seconds. */
void show_status(const json_t *result, int64_t now, FILE *out, bool colour);
/* All about one certificate of it. */
void show_certificate(const json_t *certificate, int64_t now, FILE *out, bool colour);
const json_t *show_find(const json_t *result, const char *name); /* NULL: not in it */
/* Where the configuration that was read last is not in force: why; nothing otherwise. */
void show_configuration(const json_t *result, FILE *out);
/* The files of the drop boxes that wait; nothing where there are none. certificate: what concerns it; NULL: all. */
void show_waiting(const json_t *result, const char *certificate, FILE *out);

void show_incidents(const json_t *list, int64_t now, FILE *out, bool colour);
void show_incident(const json_t *incident, int64_t now, FILE *out, bool colour);

/* A time of the agent in seconds; 0: none. */
int64_t show_time(const json_t *object, const char *key);
/* "23 h 41 min", "late 2 d 4 h"; buf >= 48 bytes; returns buf. */
const char *show_left(int64_t deadline, int64_t now, char *buf);
#endif
