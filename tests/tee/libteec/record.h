/* The record of who called what: one JSON object a line, appended to the file TEST_TEE_LOG. */
#ifndef RECORD_H
#define RECORD_H

/* Name, value pairs of strings follow, closed by a null pointer. */
void record(const char *event, ...) __attribute__((sentinel));

#endif
