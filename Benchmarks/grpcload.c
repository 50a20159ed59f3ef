// A load generator for gRPC that costs next to nothing itself.
//
// One thread, one outstanding call per connection, frames written by hand. The benchmarks share two
// cores between client, agent and server, so a client that is cheap shows what the daemons cost.
//
//   grpcload -u PATH | -x COMMAND    connect to a Unix socket, or talk to a command's stdin and stdout
//            -p /Service/Method      what to call
//            -m MODE                 unary   wait for the end of each call
//                                    first   wait for the first message, then reset the stream
//                                    new     the same, with a new connection for each call
//                                    cancel  the same, and the stream is reset before the connection closes
//                                    hold    open -s streams on each connection, print "held", wait for EOF;
//                                            whenever each stream has had one more message, print "all" with
//                                            the times of the first and the last of them (CLOCK_MONOTONIC, s)
//            -q MS                   hold: a change may take several messages; print "all" when each stream has had
//                                    one and then none has had another for that long
//            -c N  -n M              connections, calls in all (after one warm-up call on each)
//            -s N                    streams per connection (hold)
//            -b FILE                 messages: 4 bytes big-endian length, then the message; used in turn
//            -o                      each message once: the run ends when they are used up
//            -P FILE                 before the measured part: write "ready" and wait until FILE exists
//
// Prints one JSON object. A call counts as failed when it ends without a message.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { DATA = 0, HEADERS = 1, RST = 3, SETTINGS = 4, PING = 6, GOAWAY = 7, WINDOW = 8 };
enum mode { UNARY, FIRST, NEW, CANCEL, HOLD };

struct connection {
    int fd;
    pid_t child;
    uint32_t stream;       // the call under way
    int messages;          // messages seen by it
    int open;              // a call is under way
    int going;             // GOAWAY was received
    double begun;
    unsigned char *in;
    size_t have, room;
};

static const char *unix_path, *command, *method = "/";
static enum mode mode = UNARY;
static int connections = 1, streams = 1, once, quiet;
static long wanted = 1000;
static unsigned char **bodies;
static size_t *lengths;
static long body_count, next_body;
static long failed, reconnected;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void die(const char *what) {
    fprintf(stderr, "grpcload: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void send_all(struct connection *c, const unsigned char *data, size_t size) {
    while (size > 0) {
        ssize_t n = write(c->fd, data, size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) { c->going = 1; return; }
        data += n;
        size -= (size_t)n;
    }
}

static size_t frame(unsigned char *at, int kind, int flags, uint32_t stream, size_t length) {
    at[0] = (unsigned char)(length >> 16);
    at[1] = (unsigned char)(length >> 8);
    at[2] = (unsigned char)length;
    at[3] = (unsigned char)kind;
    at[4] = (unsigned char)flags;
    at[5] = (unsigned char)(stream >> 24);
    at[6] = (unsigned char)(stream >> 16);
    at[7] = (unsigned char)(stream >> 8);
    at[8] = (unsigned char)stream;
    return 9;
}

static size_t field(unsigned char *at, const char *name, const char *value) {
    size_t n = strlen(name), v = strlen(value), size = 0;
    at[size++] = 0;  // literal, not indexed
    at[size++] = (unsigned char)n;
    memcpy(at + size, name, n);
    size += n;
    at[size++] = (unsigned char)v;
    memcpy(at + size, value, v);
    return size + v;
}

static void dial(struct connection *c) {
    free(c->in);
    memset(c, 0, sizeof *c);
    if (command) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) die("socketpair");
        c->child = fork();
        if (c->child < 0) die("fork");
        if (c->child == 0) {
            dup2(pair[1], 0);
            dup2(pair[1], 1);
            int null = open("/dev/null", O_WRONLY);
            dup2(null, 2);
            for (int fd = 3; fd < 1024; fd++) close(fd);
            execl("/bin/sh", "sh", "-c", command, (char *)0);
            _exit(127);
        }
        close(pair[1]);
        c->fd = pair[0];
    } else {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        strncpy(address.sun_path, unix_path, sizeof address.sun_path - 1);
        c->fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (c->fd < 0) die("socket");
        if (connect(c->fd, (struct sockaddr *)&address, sizeof address)) die(unix_path);
    }
    c->room = 1 << 15;
    c->in = malloc(c->room);
    c->stream = (uint32_t)-1;
    unsigned char hello[128];
    size_t size = 24;
    memcpy(hello, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    size += frame(hello + size, SETTINGS, 0, 0, 6);
    memcpy(hello + size, "\x00\x04\x3f\xff\xff\xff", 6);  // INITIAL_WINDOW_SIZE
    size += 6;
    size += frame(hello + size, WINDOW, 0, 0, 4);
    memcpy(hello + size, "\x3f\xff\x00\x00", 4);
    size += 4;
    send_all(c, hello, size);
}

static void hang_up(struct connection *c) {
    if (c->fd > 0) close(c->fd);
    if (c->child > 0) kill(c->child, SIGTERM);
    c->fd = -1;
}

static void ask(struct connection *c) {
    static unsigned char *out;
    static size_t room;
    long body = next_body;
    next_body = (next_body + 1) % body_count;
    size_t length = lengths[body];
    if (room < length + 4096) {
        room = length + 4096;
        out = realloc(out, room);
    }
    c->stream += 2;
    c->messages = 0;
    c->open = 1;
    unsigned char *fields = out + 9;
    size_t size = 0;
    fields[size++] = 0x83;  // :method POST
    fields[size++] = 0x86;  // :scheme http
    size += field(fields + size, ":path", method);
    size += field(fields + size, ":authority", "localhost");
    size += field(fields + size, "content-type", "application/grpc");
    size += field(fields + size, "te", "trailers");
    size += field(fields + size, "workload.spiffe.io", "true");
    frame(out, HEADERS, 4, c->stream, size);
    size += 9;
    size += frame(out + size, DATA, 1, c->stream, length + 5);
    out[size++] = 0;
    out[size++] = (unsigned char)(length >> 24);
    out[size++] = (unsigned char)(length >> 16);
    out[size++] = (unsigned char)(length >> 8);
    out[size++] = (unsigned char)length;
    memcpy(out + size, bodies[body], length);
    c->begun = now();
    send_all(c, out, size + length);
}

// Reads what is there and reports whether the call under way has finished (1), or the connection (-1).
static int take(struct connection *c) {
    if (c->have == c->room) {
        c->room *= 2;
        c->in = realloc(c->in, c->room);
    }
    ssize_t n = read(c->fd, c->in + c->have, c->room - c->have);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return 0;
    if (n <= 0) return -1;
    c->have += (size_t)n;
    size_t at = 0;
    int finished = 0;
    while (c->have - at >= 9) {
        unsigned char *f = c->in + at;
        size_t length = (size_t)f[0] << 16 | (size_t)f[1] << 8 | f[2];
        if (c->have - at < 9 + length) break;
        uint32_t stream = ((uint32_t)f[5] << 24 | (uint32_t)f[6] << 16 | (uint32_t)f[7] << 8 | f[8])
            & 0x7fffffff;
        unsigned char reply[64];
        if (f[3] == SETTINGS && !(f[4] & 1)) {
            send_all(c, reply, frame(reply, SETTINGS, 1, 0, 0));
        } else if (f[3] == PING && !(f[4] & 1) && length == 8) {
            size_t size = frame(reply, PING, 1, 0, 8);
            memcpy(reply + size, f + 9, 8);
            send_all(c, reply, size + 8);
        } else if (f[3] == GOAWAY) {
            c->going = 1;
        } else if (stream == c->stream && c->open) {
            if (f[3] == DATA && length > 5) c->messages++;
            int ended = (f[3] == DATA || f[3] == HEADERS) && (f[4] & 1);
            if (f[3] == RST) ended = 1;
            // Replies of these calls fit into one frame; a longer one counts at its first frame.
            if (ended || (mode != UNARY && c->messages > 0)) {
                if (c->messages == 0) failed++;
                c->open = 0;
                finished = 1;
                if ((mode == FIRST || mode == CANCEL) && !ended) {
                    size_t size = frame(reply, RST, 0, c->stream, 4);
                    memcpy(reply + size, "\x00\x00\x00\x08", 4);
                    send_all(c, reply, size + 4);
                }
            }
        } else if (mode == HOLD && f[3] == DATA && length > 5) {
            c->messages++;
        }
        at += 9 + length;
    }
    memmove(c->in, c->in + at, c->have - at);
    c->have -= at;
    return finished;
}

static void wait_for(struct connection *c) {
    struct pollfd one = {.fd = c->fd, .events = POLLIN};
    int done = 0;
    while (!done) {
        if (poll(&one, 1, 20000) <= 0) { fprintf(stderr, "grpcload: no answer\n"); exit(1); }
        done = take(c);
    }
    if (done < 0) { fprintf(stderr, "grpcload: the connection was closed\n"); exit(1); }
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(double *times, long count, double seconds) {
    qsort(times, (size_t)count, sizeof *times, ascending);
#define AT(share) (count ? times[(long)((share) * (double)(count - 1))] * 1e3 : 0.0)
    printf("{\"calls\": %ld, \"failed\": %ld, \"reconnected\": %ld, \"seconds\": %.6f, "
           "\"p50_ms\": %.4f, \"p90_ms\": %.4f, \"p99_ms\": %.4f, \"max_ms\": %.4f}\n",
           count, failed, reconnected, seconds, AT(0.5), AT(0.9), AT(0.99), AT(1.0));
    fflush(stdout);
}

static void load_bodies(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) die(path);
    long room = 0;
    unsigned char head[4];
    while (fread(head, 1, 4, file) == 4) {
        size_t length = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
        if (body_count == room) {
            room = room ? room * 2 : 64;
            bodies = realloc(bodies, (size_t)room * sizeof *bodies);
            lengths = realloc(lengths, (size_t)room * sizeof *lengths);
        }
        bodies[body_count] = malloc(length + 1);
        lengths[body_count] = length;
        if (fread(bodies[body_count++], 1, length, file) != length) die("short body file");
    }
    fclose(file);
}

static void hold(struct connection *all) {
    for (int i = 0; i < connections; i++) {
        dial(&all[i]);
        for (int j = 0; j < streams; j++) {
            ask(&all[i]);
            all[i].messages = 0;
            wait_for(&all[i]);
        }
    }
    printf("held\n");
    fflush(stdout);
    // The last slot of the events' data is standard input.
    int events = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i <= connections; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        if (i < connections) all[i].messages = 0;
        if (epoll_ctl(events, EPOLL_CTL_ADD, i < connections ? all[i].fd : 0, &event)) die("epoll_ctl");
    }
    long heard = 0;
    double first = 0, last = 0;
    char *has = calloc((size_t)connections, 1);
    for (;;) {
        struct epoll_event ready[256];
        int count = epoll_wait(events, ready, 256, quiet && heard >= connections ? quiet : -1);
        if (count < 0 && errno != EINTR) die("epoll_wait");
        if (count == 0) {
            printf("all %.6f %.6f\n", first, last);
            fflush(stdout);
            heard = 0;
            memset(has, 0, (size_t)connections);
        }
        for (int k = 0; k < count; k++) {
            uint32_t i = ready[k].data.u32;
            char byte;
            if (i == (uint32_t)connections) {
                if (read(0, &byte, 1) <= 0) return;
                continue;
            }
            if (take(&all[i]) < 0) {
                fprintf(stderr, "grpcload: a held connection was closed\n");
                exit(1);
            }
            if (all[i].messages == 0) continue;
            if (heard == 0) first = now();
            if (quiet) {
                last = now();
                heard += !has[i];
                has[i] = 1;
                all[i].messages = 0;
                continue;
            }
            heard += all[i].messages;
            all[i].messages = 0;
            if (heard < (long)connections * streams) continue;
            printf("all %.6f %.6f\n", first, now());
            fflush(stdout);
            heard = 0;
        }
    }
}

int main(int argc, char **argv) {
    const char *gate = 0;
    int option;
    while ((option = getopt(argc, argv, "u:x:p:m:c:n:s:b:oP:q:")) != -1) {
        switch (option) {
        case 'u': unix_path = optarg; break;
        case 'x': command = optarg; break;
        case 'p': method = optarg; break;
        case 'm':
            mode = !strcmp(optarg, "first") ? FIRST : !strcmp(optarg, "new") ? NEW
                : !strcmp(optarg, "hold") ? HOLD : !strcmp(optarg, "cancel") ? CANCEL : UNARY;
            break;
        case 'c': connections = atoi(optarg); break;
        case 'n': wanted = atol(optarg); break;
        case 's': streams = atoi(optarg); break;
        case 'b': load_bodies(optarg); break;
        case 'o': once = 1; break;
        case 'q': quiet = atoi(optarg); break;
        case 'P': gate = optarg; break;
        default: return 2;
        }
    }
    if (!unix_path && !command) { fprintf(stderr, "grpcload: -u or -x is missing\n"); return 2; }
    if (quiet && streams > 1) { fprintf(stderr, "grpcload: -q is for one stream a connection\n"); return 2; }
    if (!body_count) {
        static unsigned char nothing[1];
        static unsigned char *one[1] = {nothing};
        static size_t zero[1];
        bodies = one;
        lengths = zero;
        body_count = 1;
    }
    signal(SIGPIPE, SIG_IGN);
    struct connection *all = calloc((size_t)connections, sizeof *all);
    if (mode == HOLD) { hold(all); return 0; }
    if (once) wanted = body_count;

    // Warm up: a call on each connection, so that set-up is outside the measured part. With `once`
    // every message counts, so connections are only opened.
    if (mode != NEW && mode != CANCEL) {
        for (int i = 0; i < connections; i++) {
            dial(&all[i]);
            if (once) continue;
            ask(&all[i]);
            wait_for(&all[i]);
        }
    }
    if (gate) {
        printf("ready\n");
        fflush(stdout);
        while (access(gate, F_OK)) usleep(2000);
    }

    double *times = malloc((size_t)wanted * sizeof *times);
    long finished = 0, asked = 0;
    double begun = now();
    if (mode == NEW || mode == CANCEL) {
        for (; finished < wanted; finished++) {
            double start = now();
            dial(&all[0]);
            ask(&all[0]);
            wait_for(&all[0]);
            hang_up(&all[0]);
            times[finished] = now() - start;
        }
    } else {
        struct pollfd *polls = calloc((size_t)connections, sizeof *polls);
        for (int i = 0; i < connections && asked < wanted; i++, asked++) ask(&all[i]);
        while (finished < wanted) {
            for (int i = 0; i < connections; i++) {
                polls[i].fd = all[i].open ? all[i].fd : -1;
                polls[i].events = POLLIN;
            }
            if (poll(polls, (nfds_t)connections, 30000) <= 0) {
                fprintf(stderr, "grpcload: no answer for 30 s\n");
                return 1;
            }
            for (int i = 0; i < connections; i++) {
                if (polls[i].fd < 0 || !polls[i].revents) continue;
                int done = take(&all[i]);
                if (done == 0) continue;
                if (done < 0) failed++;
                times[finished++] = now() - all[i].begun;
                if (done < 0 || all[i].going) {
                    hang_up(&all[i]);
                    dial(&all[i]);
                    reconnected++;
                }
                if (asked < wanted) {
                    ask(&all[i]);
                    asked++;
                } else {
                    all[i].open = 0;
                }
                if (finished == wanted) break;
            }
        }
    }
    report(times, wanted, now() - begun);
    for (int i = 0; i < connections; i++) hang_up(&all[i]);
    return 0;
}
