#pragma once

// What the kernel knows about the process at the other end of a Unix socket, and the few system
// calls around it that Swift cannot reach. Every function that can fail returns a negative errno.

#include <stdint.h>

/// Reads who connected the socket. The answer was fixed at `connect` and never changes, even when
/// the process has died or handed the socket on. `pid` is 0 when it has no number in our PID
/// namespace.
int cygnet_peer_credentials(int socket, int32_t *pid, uint32_t *uid, uint32_t *gid);

/// A new descriptor that stands for the very process that connected (SO_PEERPIDFD, Linux 6.5 and
/// later), -ENOPROTOOPT where the kernel has none, -ESRCH when the process is gone.
int cygnet_peer_pidfd(int socket);

/// 1 where the kernel has SO_PEERPIDFD, 0 where it has not. Asks on a socket pair of our own, whose other end
/// certainly lives: there only a kernel without the option refuses it, while on a connection some kernels
/// refuse it with EINVAL because the peer is gone. A negative errno: no socket pair could be made; ask again.
int cygnet_has_peer_pidfd(void);

/// A new descriptor for the process that has the number now (pidfd_open), -ENOSYS where there is
/// none.
int cygnet_pidfd_open(int32_t pid);

/// 1 when the process behind a pidfd has ended, 0 while it lives.
int cygnet_pidfd_has_ended(int pidfd);

/// A new watch over pidfds: tells which of them have ended, however many there are, without asking each
/// of them. -ENOSYS where the system has no such thing.
int cygnet_watch_make(void);

/// Has the watch tell, once, when the process behind a pidfd has ended. Closing the pidfd ends it, too.
int cygnet_watch_add(int watch, int pidfd, uint64_t key);

/// Waits until processes have ended and writes their keys; returns how many, at least one.
int cygnet_watch_wait(int watch, uint64_t *keys, int32_t capacity);

/// When the process that has the number now was started, in the kernel's own unit; only good for
/// comparison. Field 22 of /proc/PID/stat on Linux.
int cygnet_process_start_time(int32_t pid, uint64_t *start_time);

/// 0 when a process with that number exists.
int cygnet_process_exists(int32_t pid);

/// Makes stdout line-buffered, so that a reader at the other end of a pipe sees each line at once.
void cygnet_line_buffer_stdout(void);

/// Takes an exclusive advisory lock without waiting; -EWOULDBLOCK when somebody else holds it. The
/// lock goes when the last copy of the descriptor is closed.
int cygnet_flock_exclusive(int fd);

/// What a running process's program file is. Never opens or waits for the file system it lies on,
/// which the workload may control.
typedef struct {
    uint64_t device;
    uint64_t inode;
} cygnet_executable;

/// Which file the process runs now; changes with `exec`. The path is written NUL-terminated into
/// `path`, with " (deleted)" behind it when the file has no name any more. -ENAMETOOLONG when it
/// does not fit.
int cygnet_process_executable(int32_t pid, cygnet_executable *file, char *path, uint32_t path_size);

/// Opens the program file of a running process for reading; close it after use. May block.
int cygnet_open_process_executable(int32_t pid);

/// What tells whether an open file is still the one that was read.
typedef struct {
    uint64_t device;
    uint64_t inode;
    /// Type and permissions, as st_mode.
    uint32_t mode;
    int64_t size;
    int64_t modified_seconds;
    int64_t modified_nanoseconds;
    int64_t changed_seconds;
    int64_t changed_nanoseconds;
} cygnet_file_facts;

/// Asks for the facts of an open file: fstat, whose structure Swift sees as several modules' at once. 0 or a
/// negative errno.
int cygnet_read_file_facts(int descriptor, cygnet_file_facts *facts);

/// The process's current user and group IDs as text, in the three lines `Uid:`, `Gid:` and
/// `Groups:` of /proc/PID/status (numbers separated by blanks; real, effective, saved, file
/// system). Returns the number of bytes written, or -ERANGE when they do not fit.
int64_t cygnet_process_ids(int32_t pid, char *buffer, uint64_t size);

/// The process's current IDs: real, effective, saved and file system user ID, then the same four
/// group IDs. Cheap where the kernel answers on the pidfd itself (Linux 6.13); `pidfd` may be -1.
int cygnet_current_ids(int pidfd, int32_t pid, uint32_t ids[8]);
