/* sysinfo() as the TEE's C library has it: 368 bytes, which is not what Linux has. */
#ifndef GP_HOST_SYS_SYSINFO_H
#define GP_HOST_SYS_SYSINFO_H

struct sysinfo {
    unsigned long uptime;
    unsigned long loads[3];
    unsigned long totalram;
    unsigned long freeram;
    unsigned long sharedram;
    unsigned long bufferram;
    unsigned long totalswap;
    unsigned long freeswap;
    unsigned short procs;
    unsigned short pad;
    unsigned long totalhigh;
    unsigned long freehigh;
    unsigned mem_unit;
    char reserved[256];
};

int sysinfo(struct sysinfo *info);

#endif
