// Many agents that hold their stream to the server, take what it sends, and confirm revocations and bundles at once.
//
// One thread and frames written by hand, for the reason that grpcload has: on shared cores the server's cost is to show
// and not that of a thousand real agents.
//
//   agentload PORT KEY FOLDER COUNT
//
// connects COUNT times to 127.0.0.1:PORT over TLS 1.3, each time with the SVID FOLDER/<n>.pem (n from 0; all have the
// private key of the file KEY), and opens cygnet.sync.v1.Sync/Connect. Prints "held" when each of them has had a message,
// and whenever all have confirmed one more state of the revocations "all NUMBER FIRST LAST": its number, and when the
// first and the last confirmation were written (CLOCK_MONOTONIC, s). Ends when its standard input does. The server's
// certificate is not verified.
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { DATA = 0, HEADERS = 1, RST = 3, SETTINGS = 4, PING = 6, GOAWAY = 7, WINDOW = 8 };

struct bytes {
    unsigned char *at;
    size_t have, room;
};

struct agent {
    SSL *tls;
    int index;
    struct bytes frames;   // received, not yet whole
    struct bytes body;     // of the stream, not yet whole
    uint64_t confirmed;    // the newest state that was confirmed
    int heard;
};

static struct agent *agents;
static int count;
// Of the newest state: how many have confirmed it, and when the first did.
static uint64_t newest;
static int confirmations;
static double first;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void die(const char *what) {
    fprintf(stderr, "agentload: %s: %s\n", what, errno ? strerror(errno) : "failed");
    ERR_print_errors_fp(stderr);
    exit(1);
}

static void push(struct bytes *b, const unsigned char *data, size_t size) {
    if (b->have + size > b->room) {
        b->room = (b->have + size) * 2;
        b->at = realloc(b->at, b->room);
        if (!b->at) die("memory");
    }
    memcpy(b->at + b->have, data, size);
    b->have += size;
}

static void drop(struct bytes *b, size_t size) {
    b->have -= size;
    memmove(b->at, b->at + size, b->have);
    // A thousand of them: what a large message took is given back.
    if (b->have == 0 && b->room > 4096) {
        free(b->at);
        b->at = 0;
        b->room = 0;
    }
}

static void frame(struct bytes *out, int kind, int flags, uint32_t stream, const void *data, size_t size) {
    unsigned char head[9] = {
        (unsigned char)(size >> 16), (unsigned char)(size >> 8), (unsigned char)size, (unsigned char)kind,
        (unsigned char)flags, (unsigned char)(stream >> 24), (unsigned char)(stream >> 16),
        (unsigned char)(stream >> 8), (unsigned char)stream};
    push(out, head, 9);
    if (size) push(out, data, size);
}

static void field(struct bytes *out, const char *name, const char *value) {
    unsigned char zero = 0, n = (unsigned char)strlen(name), v = (unsigned char)strlen(value);
    push(out, &zero, 1);  // literal, not indexed
    push(out, &n, 1);
    push(out, (const unsigned char *)name, n);
    push(out, &v, 1);
    push(out, (const unsigned char *)value, v);
}

// Small writes into sockets that somebody reads: there is always room.
static void send_all(struct agent *a, struct bytes *out) {
    if (out->have == 0) return;
    int sent = SSL_write(a->tls, out->at, (int)out->have);
    if (sent != (int)out->have) die("write");
    out->have = 0;
}

static void message(struct bytes *out, const unsigned char *body, size_t size) {
    unsigned char framed[64] = {0, 0, 0, 0, (unsigned char)size};
    memcpy(framed + 5, body, size);
    frame(out, DATA, 0, 1, framed, size + 5);
}

// A number of protobuf; moves *at. 0 and *at == end when it is cut off.
static uint64_t varint(const unsigned char **at, const unsigned char *end) {
    uint64_t value = 0;
    for (int shift = 0; *at < end && shift < 64; shift += 7) {
        unsigned char byte = *(*at)++;
        value |= (uint64_t)(byte & 127) << shift;
        if (!(byte & 128)) return value;
    }
    *at = end;
    return 0;
}

// The field of that number: a number itself, or where its bytes are and how many. Returns 0 when it is not there.
static int find(const unsigned char *at, const unsigned char *end, unsigned number, uint64_t *value,
                const unsigned char **data) {
    while (at < end) {
        uint64_t key = varint(&at, end), size = 0;
        const unsigned char *start = at;
        switch (key & 7) {
        case 0: size = varint(&at, end); break;
        case 1: at += 8; break;
        case 5: at += 4; break;
        case 2:
            size = varint(&at, end);
            if (size > (uint64_t)(end - at)) return 0;
            start = at;
            at += size;
            break;
        default: return 0;
        }
        if (key >> 3 == number) {
            *value = size;
            *data = start;
            return 1;
        }
    }
    return 0;
}

// AgentMessage with a confirmation: `which` is 6 (bundle, all replaced) or 7 (revocations).
static void confirm(struct bytes *out, int which, uint64_t number) {
    unsigned char body[32], inner[16];
    size_t size = 0;
    inner[size++] = 1 << 3;
    for (; number > 127; number >>= 7) inner[size++] = (unsigned char)(number & 127) | 128;
    inner[size++] = (unsigned char)number;
    if (which == 6) {
        inner[size++] = 2 << 3;
        inner[size++] = 1;
    }
    body[0] = (unsigned char)(which << 3 | 2);
    body[1] = (unsigned char)size;
    memcpy(body + 2, inner, size);
    message(out, body, size + 2);
}

static void count_confirmation(struct agent *a, uint64_t number) {
    a->confirmed = number;
    if (number < newest) return;
    if (number > newest) {
        newest = number;
        confirmations = 0;
        first = now();
    }
    if (++confirmations < count) return;
    printf("all %llu %.6f %.6f\n", (unsigned long long)number, first, now());
    fflush(stdout);
}

// ServerMessage: `bundles` is 2, `revocations` is 7, and of both field 3 asks for a confirmation.
static void take_message(struct agent *a, struct bytes *out, const unsigned char *at, size_t size, uint64_t *told) {
    for (unsigned which = 2; which <= 7; which += 5) {
        uint64_t length, number;
        const unsigned char *inside, *ignored;
        if (!find(at, at + size, which, &length, &inside)) continue;
        if (!find(inside, inside + length, 3, &number, &ignored) || number == 0) continue;
        confirm(out, which == 2 ? 6 : 7, number);
        if (which == 7) *told = number;
    }
    a->heard = 1;
}

// Reads what is there.
static void take(struct agent *a) {
    static unsigned char buffer[1 << 16];
    static struct bytes out;
    for (;;) {
        errno = 0;
        int n = SSL_read(a->tls, buffer, sizeof buffer);
        if (n <= 0) {
            if (SSL_get_error(a->tls, n) == SSL_ERROR_WANT_READ) break;
            fprintf(stderr, "agentload: the server has closed the connection of agent %d\n", a->index);
            exit(1);
        }
        push(&a->frames, buffer, (size_t)n);
        size_t at = 0;
        while (a->frames.have - at >= 9) {
            unsigned char *f = a->frames.at + at;
            size_t length = (size_t)f[0] << 16 | (size_t)f[1] << 8 | f[2];
            if (a->frames.have - at < 9 + length) break;
            if (f[3] == SETTINGS && !(f[4] & 1)) {
                frame(&out, SETTINGS, 1, 0, 0, 0);
            } else if (f[3] == PING && !(f[4] & 1)) {
                frame(&out, PING, 1, 0, f + 9, length);
            } else if (f[3] == DATA) {
                push(&a->body, f + 9, length);
            } else if (f[3] == GOAWAY || f[3] == RST || (f[3] == HEADERS && f[4] & 1)) {
                fprintf(stderr, "agentload: the server has ended the stream of agent %d\n", a->index);
                exit(1);
            }
            at += 9 + length;
        }
        drop(&a->frames, at);
    }
    uint64_t told = 0;
    size_t at = 0;
    while (a->body.have - at >= 5) {
        unsigned char *m = a->body.at + at;
        size_t length = (size_t)m[1] << 24 | (size_t)m[2] << 16 | (size_t)m[3] << 8 | m[4];
        if (a->body.have - at < 5 + length) break;
        take_message(a, &out, m + 5, length, &told);
        at += 5 + length;
    }
    drop(&a->body, at);
    send_all(a, &out);
    if (told) count_confirmation(a, told);
}

static void dial(struct agent *a, SSL_CTX *context, int port, const char *key, const char *folder) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address)) die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    char path[4096];
    snprintf(path, sizeof path, "%s/%d.pem", folder, a->index);
    errno = 0;
    a->tls = SSL_new(context);
    if (!a->tls || SSL_use_certificate_chain_file(a->tls, path) != 1
        || SSL_use_PrivateKey_file(a->tls, key, SSL_FILETYPE_PEM) != 1 || !SSL_set_fd(a->tls, fd)) {
        die(path);
    }
    if (SSL_connect(a->tls) != 1) die("TLS");
    static const unsigned char window[] = {0, 4, 0x3f, 0xff, 0xff, 0xff};  // INITIAL_WINDOW_SIZE
    static const unsigned char more[] = {0x3f, 0xff, 0, 0};
    // AgentMessage { hello { agent_version: "agentload" } }
    static const unsigned char hello[] = "\x0a\x0b\x0a\x09" "agentload";
    struct bytes out = {0}, fields = {0};
    push(&out, (const unsigned char *)"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    frame(&out, SETTINGS, 0, 0, window, sizeof window);
    frame(&out, WINDOW, 0, 0, more, sizeof more);
    push(&fields, (const unsigned char *)"\x83\x87", 2);  // :method POST, :scheme https
    field(&fields, ":path", "/cygnet.sync.v1.Sync/Connect");
    field(&fields, ":authority", "localhost");
    field(&fields, "content-type", "application/grpc");
    field(&fields, "te", "trailers");
    frame(&out, HEADERS, 4, 1, fields.at, fields.have);
    message(&out, hello, sizeof hello - 1);
    send_all(a, &out);
    free(out.at);
    free(fields.at);
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "agentload: expected PORT KEY FOLDER COUNT\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    count = atoi(argv[4]);
    agents = calloc((size_t)count, sizeof *agents);
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    static const unsigned char protocols[] = "\x02h2";
    if (!agents || !context || SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1
        || SSL_CTX_set_alpn_protos(context, protocols, sizeof protocols - 1)) die("TLS");
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    int events = epoll_create1(EPOLL_CLOEXEC);
    // The last slot of the events' data is standard input.
    for (int i = 0; i <= count; i++) {
        int fd = 0;
        if (i < count) {
            agents[i].index = i;
            dial(&agents[i], context, atoi(argv[1]), argv[2], argv[3]);
            fd = SSL_get_fd(agents[i].tls);
            int flags = 1;
            if (ioctl(fd, FIONBIO, &flags)) die("FIONBIO");
        }
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        if (epoll_ctl(events, EPOLL_CTL_ADD, fd, &event)) die("epoll_ctl");
        // What came with the handshake is not in the socket any more.
        if (i < count) take(&agents[i]);
    }
    int heard = 0;
    for (;;) {
        struct epoll_event ready[256];
        int n = epoll_wait(events, ready, 256, -1);
        if (n < 0 && errno != EINTR) die("epoll_wait");
        for (int k = 0; k < n; k++) {
            uint32_t i = ready[k].data.u32;
            char byte;
            if (i == (uint32_t)count) {
                if (read(0, &byte, 1) <= 0) return 0;
                continue;
            }
            take(&agents[i]);
        }
        if (heard) continue;
        heard = 1;
        for (int i = 0; i < count; i++) heard = heard && agents[i].heard;
        if (heard) {
            printf("held\n");
            fflush(stdout);
        }
    }
}
