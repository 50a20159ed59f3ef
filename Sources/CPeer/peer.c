#include "CPeer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/syscall.h>
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#elif defined(__APPLE__)
#include <libproc.h>
#include <sys/proc_info.h>
#include <sys/ucred.h>
#include <sys/un.h>
#endif

int cygnet_peer_credentials(int socket, int32_t *pid, uint32_t *uid, uint32_t *gid) {
#ifdef __linux__
    struct ucred credentials;
    socklen_t length = sizeof(credentials);
    memset(&credentials, 0, sizeof(credentials));
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) {
        return -errno;
    }
    *pid = (int32_t)credentials.pid;
    *uid = (uint32_t)credentials.uid;
    *gid = (uint32_t)credentials.gid;
    return 0;
#elif defined(__APPLE__)
    struct xucred credentials;
    socklen_t length = sizeof(credentials);
    if (getsockopt(socket, SOL_LOCAL, LOCAL_PEERCRED, &credentials, &length) != 0) {
        return -errno;
    }
    pid_t peer = 0;
    length = sizeof(peer);
    if (getsockopt(socket, SOL_LOCAL, LOCAL_PEERPID, &peer, &length) != 0) {
        return -errno;
    }
    *pid = (int32_t)peer;
    *uid = (uint32_t)credentials.cr_uid;
    *gid = credentials.cr_ngroups > 0 ? (uint32_t)credentials.cr_groups[0] : UINT32_MAX;
    return 0;
#else
    (void)socket, (void)pid, (void)uid, (void)gid;
    return -ENOSYS;
#endif
}

int cygnet_peer_pidfd(int socket) {
#ifdef __linux__
    int descriptor = -1;
    socklen_t length = sizeof(descriptor);
    if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &descriptor, &length) != 0) {
        return -errno;
    }
    return descriptor;
#else
    (void)socket;
    return -ENOPROTOOPT;
#endif
}

int cygnet_pidfd_open(int32_t pid) {
#ifdef __linux__
    long descriptor = syscall(SYS_pidfd_open, (pid_t)pid, 0);
    return descriptor < 0 ? -errno : (int)descriptor;
#else
    (void)pid;
    return -ENOSYS;
#endif
}

int cygnet_pidfd_has_ended(int pidfd) {
    struct pollfd descriptor = {.fd = pidfd, .events = POLLIN, .revents = 0};
    for (;;) {
        int ready = poll(&descriptor, 1, 0);
        if (ready >= 0) {
            return ready == 0 ? 0 : 1;
        }
        if (errno != EINTR) {
            return -errno;
        }
    }
}

int cygnet_process_start_time(int32_t pid, uint64_t *start_time) {
#ifdef __linux__
    char path[48];
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) {
        return errno == ENOENT ? -ESRCH : -errno;
    }
    char text[1024];
    ssize_t count;
    do {
        count = read(descriptor, text, sizeof(text) - 1);
    } while (count < 0 && errno == EINTR);
    int failure = count < 0 ? errno : 0;
    close(descriptor);
    if (count <= 0) {
        return failure == 0 ? -ESRCH : -failure;
    }
    text[count] = 0;
    // The command name (field 2) may itself contain spaces and parentheses: count after the last one.
    char *cursor = strrchr(text, ')');
    if (cursor == NULL) {
        return -EINVAL;
    }
    for (int field = 2; field < 22; field++) {
        cursor = strchr(cursor + 1, ' ');
        if (cursor == NULL) {
            return -EINVAL;
        }
    }
    *start_time = strtoull(cursor + 1, NULL, 10);
    return 0;
#elif defined(__APPLE__)
    struct proc_bsdinfo info;
    int count = proc_pidinfo(pid, PROC_PIDTBSDINFO, 0, &info, sizeof(info));
    if (count != (int)sizeof(info)) {
        return errno == 0 ? -ESRCH : -errno;
    }
    *start_time = info.pbi_start_tvsec * 1000000ULL + info.pbi_start_tvusec;
    return 0;
#else
    (void)pid, (void)start_time;
    return -ENOSYS;
#endif
}

int cygnet_process_exists(int32_t pid) {
    if (kill((pid_t)pid, 0) == 0 || errno == EPERM) {
        return 0;
    }
    return -errno;
}

void cygnet_line_buffer_stdout(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
}

int cygnet_flock_exclusive(int fd) {
    for (;;) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
            return 0;
        }
        if (errno != EINTR) {
            return -errno;
        }
    }
}
