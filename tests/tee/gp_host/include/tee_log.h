/* Where a trusted application's log lines go: on the host, to the test's record. */
#ifndef GP_HOST_TEE_LOG_H
#define GP_HOST_TEE_LOG_H

void SLog(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define SLogError(format, ...) SLog("[Error]: " format "\n", ##__VA_ARGS__)

#endif
