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
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

/// The first published form of the kernel's answer to PIDFD_GET_INFO (64 bytes).
struct pidfd_facts {
    uint64_t mask, cgroup;
    uint32_t pid, tgid, ppid;
    uint32_t ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
    int32_t exit_code;
};
#define PIDFD_FACTS _IOWR(0xFF, 11, struct pidfd_facts)
#define PIDFD_FACTS_IDS 2u
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

int cygnet_has_peer_pidfd(void) {
#ifdef __linux__
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        return -errno;
    }
    int descriptor = cygnet_peer_pidfd(ends[0]);
    close(ends[0]);
    close(ends[1]);
    if (descriptor >= 0) {
        close(descriptor);
        return 1;
    }
    // Who runs out of descriptors or memory knew what was asked for.
    return descriptor == -EMFILE || descriptor == -ENFILE || descriptor == -ENOMEM;
#else
    return 0;
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

int cygnet_watch_make(void) {
#ifdef __linux__
    int watch = epoll_create1(EPOLL_CLOEXEC);
    return watch < 0 ? -errno : watch;
#else
    return -ENOSYS;
#endif
}

int cygnet_watch_add(int watch, int pidfd, uint64_t key) {
#ifdef __linux__
    // Once: a process that has ended stays readable for as long as the descriptor is open.
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = key};
    return epoll_ctl(watch, EPOLL_CTL_ADD, pidfd, &event) == 0 ? 0 : -errno;
#else
    (void)watch, (void)pidfd, (void)key;
    return -ENOSYS;
#endif
}

int cygnet_watch_wait(int watch, uint64_t *keys, int32_t capacity) {
#ifdef __linux__
    struct epoll_event events[64];
    int most = capacity < 64 ? (int)capacity : 64;
    for (;;) {
        int count = epoll_wait(watch, events, most, -1);
        if (count > 0) {
            for (int i = 0; i < count; i++) {
                keys[i] = events[i].data.u64;
            }
            return count;
        }
        if (count < 0 && errno != EINTR) {
            return -errno;
        }
    }
#else
    (void)watch, (void)keys, (void)capacity;
    return -ENOSYS;
#endif
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
    // The command name (field 2) may itself contain spaces and parentheses: count after the last
    // one.
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

int cygnet_process_executable(int32_t pid, cygnet_executable *file, char *path, uint32_t path_size) {
#ifdef __linux__
    char link[48];
    snprintf(link, sizeof(link), "/proc/%d/exe", pid);
    struct statx facts;
    // The link leads to the open file itself, so no directory is searched; DONT_SYNC keeps a
    // network or user-space file system out of it.
    if (statx(AT_FDCWD, link, AT_STATX_DONT_SYNC, STATX_INO, &facts) != 0) {
        return errno == ENOENT ? -ESRCH : -errno;
    }
    file->device = makedev(facts.stx_dev_major, facts.stx_dev_minor);
    file->inode = facts.stx_ino;
    ssize_t length = readlink(link, path, path_size);
    if (length < 0) {
        return errno == ENOENT ? -ESRCH : -errno;
    }
    if ((uint64_t)length >= path_size) {
        return -ENAMETOOLONG;
    }
    path[length] = 0;
    return 0;
#elif defined(__APPLE__)
    int length = proc_pidpath(pid, path, path_size);
    if (length <= 0) {
        return errno == 0 ? -ESRCH : -errno;
    }
    struct stat facts;
    if (stat(path, &facts) != 0) {
        return -errno;
    }
    file->device = (uint64_t)facts.st_dev;
    file->inode = facts.st_ino;
    return 0;
#else
    (void)pid, (void)file, (void)path, (void)path_size;
    return -ENOSYS;
#endif
}

int cygnet_read_file_facts(int descriptor, cygnet_file_facts *facts) {
    struct stat found;
    if (fstat(descriptor, &found) != 0) {
        return -errno;
    }
#ifdef __APPLE__
    struct timespec modified = found.st_mtimespec, changed = found.st_ctimespec;
#else
    struct timespec modified = found.st_mtim, changed = found.st_ctim;
#endif
    *facts = (cygnet_file_facts){
        .device = (uint64_t)found.st_dev,
        .inode = (uint64_t)found.st_ino,
        .mode = (uint32_t)found.st_mode,
        .size = (int64_t)found.st_size,
        .modified_seconds = (int64_t)modified.tv_sec,
        .modified_nanoseconds = (int64_t)modified.tv_nsec,
        .changed_seconds = (int64_t)changed.tv_sec,
        .changed_nanoseconds = (int64_t)changed.tv_nsec,
    };
    return 0;
}

int cygnet_open_process_executable(int32_t pid) {
#ifdef __linux__
    char path[48];
    snprintf(path, sizeof(path), "/proc/%d/exe", pid);
#elif defined(__APPLE__)
    char path[PROC_PIDPATHINFO_MAXSIZE];
    if (proc_pidpath(pid, path, sizeof(path)) <= 0) {
        return errno == 0 ? -ESRCH : -errno;
    }
#else
    (void)pid;
    return -ENOSYS;
#endif
    int descriptor;
    do {
        descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    } while (descriptor < 0 && errno == EINTR);
    return descriptor < 0 ? -errno : descriptor;
}

#ifdef __linux__
/// Copies the lines that start with one of the three names. Returns the bytes written or -ERANGE.
static int64_t copy_id_lines(const char *text, size_t length, char *buffer, uint64_t size) {
    static const char *const names[] = {"Uid:", "Gid:", "Groups:"};
    uint64_t written = 0;
    const char *cursor = text, *end = text + length;
    while (cursor < end) {
        const char *newline = memchr(cursor, '\n', (size_t)(end - cursor));
        const char *next = newline == NULL ? end : newline + 1;
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
            size_t name_length = strlen(names[i]);
            if ((size_t)(next - cursor) > name_length && memcmp(cursor, names[i], name_length) == 0) {
                uint64_t line = (uint64_t)(next - cursor);
                if (written + line > size) {
                    return -ERANGE;
                }
                memcpy(buffer + written, cursor, line);
                written += line;
                break;
            }
        }
        cursor = next;
    }
    return (int64_t)written;
}
#endif

int64_t cygnet_process_ids(int32_t pid, char *buffer, uint64_t size) {
#ifdef __linux__
    char path[48];
    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) {
        return errno == ENOENT ? -ESRCH : -errno;
    }
    // 65,536 groups of ten digits are the most that Linux allows; the usual text has less than 2
    // KiB.
    char small[4096];
    char *text = small;
    size_t capacity = sizeof(small), length = 0;
    int64_t result = 0;
    for (;;) {
        ssize_t count = read(descriptor, text + length, capacity - length);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            result = -errno;
            break;
        }
        if (count == 0) {
            break;
        }
        length += (size_t)count;
        if (length == capacity) {
            if (capacity >= (1u << 20)) {
                result = -ERANGE;
                break;
            }
            char *larger = malloc(capacity * 4);
            if (larger == NULL) {
                result = -ENOMEM;
                break;
            }
            memcpy(larger, text, length);
            if (text != small) {
                free(text);
            }
            text = larger;
            capacity *= 4;
        }
    }
    close(descriptor);
    if (result == 0) {
        result = length == 0 ? -ESRCH : copy_id_lines(text, length, buffer, size);
    }
    if (text != small) {
        free(text);
    }
    return result;
#elif defined(__APPLE__)
    struct proc_bsdinfo info;
    if (proc_pidinfo(pid, PROC_PIDTBSDINFO, 0, &info, sizeof(info)) != (int)sizeof(info)) {
        return errno == 0 ? -ESRCH : -errno;
    }
    int length = snprintf(
        buffer, size, "Uid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\nGroups:\t\n", info.pbi_ruid,
        info.pbi_uid, info.pbi_svuid, info.pbi_uid, info.pbi_rgid, info.pbi_gid, info.pbi_svgid,
        info.pbi_gid);
    return length < 0 || (uint64_t)length >= size ? -ERANGE : length;
#else
    (void)pid, (void)buffer, (void)size;
    return -ENOSYS;
#endif
}

/// Reads four numbers behind `name`.
static int parse_ids(const char *text, const char *name, uint32_t ids[4]) {
    const char *cursor = strstr(text, name);
    if (cursor == NULL) {
        return -EINVAL;
    }
    cursor += strlen(name);
    for (int i = 0; i < 4; i++) {
        char *end;
        ids[i] = (uint32_t)strtoul(cursor, &end, 10);
        if (end == cursor) {
            return -EINVAL;
        }
        cursor = end;
    }
    return 0;
}

int cygnet_current_ids(int pidfd, int32_t pid, uint32_t ids[8]) {
#ifdef __linux__
    if (pidfd >= 0) {
        struct pidfd_facts facts;
        memset(&facts, 0, sizeof(facts));
        facts.mask = PIDFD_FACTS_IDS;
        if (ioctl(pidfd, PIDFD_FACTS, &facts) == 0 && (facts.mask & PIDFD_FACTS_IDS) != 0) {
            const uint32_t all[8] = {facts.ruid, facts.euid, facts.suid, facts.fsuid,
                                     facts.rgid, facts.egid, facts.sgid, facts.fsgid};
            memcpy(ids, all, sizeof(all));
            return 0;
        }
        if (errno == ESRCH) {
            return -ESRCH;
        }
    }
#else
    (void)pidfd;
#endif
    // The group list comes last and may be cut off: the two lines before it are all that is needed.
    static const uint64_t size = 1u << 20;
    char *text = malloc(size + 1);
    if (text == NULL) {
        return -ENOMEM;
    }
    int64_t length = cygnet_process_ids(pid, text, size);
    int result = length < 0 ? (int)length : 0;
    if (result == 0) {
        text[length] = 0;
        result = parse_ids(text, "Uid:", ids);
    }
    if (result == 0) {
        result = parse_ids(text, "Gid:", ids + 4);
    }
    free(text);
    return result;
}
