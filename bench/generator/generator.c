/* A load generator: one thread, epoll, many connections, so many requests in flight on each.
 *
 * It knows nothing of what requests mean: it gets each kind as bytes with places to fill in (the key's digits, fresh
 * random bytes for the value) and finds where a reply ends. So it costs less than any server it loads, and it costs
 * the same for each of them.
 *
 * Closed loop: an answer is followed by the next request on the same connection. Open loop (rate > 0): a Poisson
 * process says when requests are due, whatever the server does; latency counts from there, so nothing is omitted.
 *
 * The plan comes on stdin, line by line (plan.py writes it). "ready" goes out when all connections stand; the next
 * line starts the run; the outcome goes to stdout. */
#define _GNU_SOURCE
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "plan.h"

enum { RECEIVE_BYTES = 1 << 18, WINDOW = 4096, EVENTS = 256 };
static const uint64_t DRAIN_NS = 10000000000ull;
/* At such rates an open loop wakes by the clock: what came due and what was answered meanwhile is taken together. It
 * costs the processors that it shares with the server less, and adds up to one tick to every latency. */
static const double TICKING_RATE = 20000;
static const long TICK_NS = 100000;

struct slot {
    uint64_t start_ns, key, number;
    int kind;
};

struct buffer {
    uint8_t *bytes;
    size_t start, end, capacity;
};

struct connection {
    int fd, wants_out;
    struct buffer in, out;
    struct slot *slots;
    uint32_t *free_slots, *order; /* order: slots in the order sent, for protocols that answer in order */
    uint32_t free_count, order_head, order_tail;
    uint64_t number, low; /* low: every number below is answered */
    uint8_t answered[WINDOW];
};

static struct connection *connections;
static int poller;
static uint64_t issued, answered, answered_in_time, stop_ns, first_error_size;
static char first_error[256];
static struct histogram lag;

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000ull + (uint64_t)time.tv_nsec;
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Requests. */

static uint8_t *reserve(struct buffer *buffer, size_t size)
{
    if (buffer->start == buffer->end) buffer->start = buffer->end = 0;
    if (buffer->end + size > buffer->capacity) {
        memmove(buffer->bytes, buffer->bytes + buffer->start, buffer->end - buffer->start);
        buffer->end -= buffer->start;
        buffer->start = 0;
        if (buffer->end + size > buffer->capacity) {
            buffer->capacity = (buffer->end + size) * 2;
            if (!(buffer->bytes = realloc(buffer->bytes, buffer->capacity))) fail("memory");
        }
    }
    return buffer->bytes + buffer->end;
}

static void fill_in(const struct patch *patch, uint8_t *at, uint64_t key)
{
    at += patch->offset;
    if (patch->type == 'd') {
        uint64_t rest = key / patch->divisor;
        for (uint32_t digit = patch->length; digit--; rest /= 10) at[digit] = (uint8_t)('0' + rest % 10);
        return;
    }
    for (uint32_t done = 0; done < patch->length; done += 8) {
        uint64_t bits = random_bits();
        memcpy(at + done, &bits, patch->length - done < 8 ? patch->length - done : 8);
    }
}

static void put_header(struct connection *connection, uint8_t *at, uint32_t slot, int write)
{
    uint32_t request_id = slot + 1;
    memcpy(at + 4, &request_id, 4);
    if (!write) return;
    uint64_t number = ++connection->number;
    uint16_t span = (uint16_t)(number - connection->low);
    connection->answered[number % WINDOW] = 0;
    connection->slots[slot].number = number;
    memcpy(at + 8, &number, 8);
    memcpy(at + 30, &span, 2);
}

static void issue(struct connection *connection, uint32_t slot_index, int kind_index, uint64_t key, uint64_t start_ns)
{
    const struct kind *kind = &kinds[kind_index];
    struct slot *slot = &connection->slots[slot_index];
    *slot = (struct slot){.start_ns = start_ns, .key = key, .kind = kind_index};
    uint8_t *at = reserve(&connection->out, kind->size);
    memcpy(at, kind->bytes, kind->size);
    for (int patch = 0; patch < kind->patch_count; patch++) fill_in(&kind->patches[patch], at, key);
    if (plan.protocol == 'o') put_header(connection, at, slot_index, kind->write);
    else connection->order[connection->order_tail++ % WINDOW] = slot_index;
    connection->out.end += kind->size;
}

static void issue_next(struct connection *connection, uint64_t start_ns)
{
    int kind = 0;
    if (kind_count > 1) {
        double point = random_unit() * kinds[kind_count - 1].weight_until;
        while (kind < kind_count - 1 && point >= kinds[kind].weight_until) kind++;
    }
    uint64_t key = kinds[kind].insert ? keys_insert(&keys) : keys_choose(&keys);
    issued++;
    issue(connection, connection->free_slots[--connection->free_count], kind, key, start_ns);
}

static void flush(struct connection *connection)
{
    struct buffer *out = &connection->out;
    while (out->start < out->end) {
        ssize_t sent = send(connection->fd, out->bytes + out->start, out->end - out->start, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EAGAIN) break;
        if (sent < 0) fail("send");
        out->start += (size_t)sent;
    }
    int wants_out = out->start < out->end;
    if (wants_out != connection->wants_out) {
        struct epoll_event event = {.events = EPOLLIN | (wants_out ? EPOLLOUT : 0), .data.ptr = connection};
        epoll_ctl(poller, EPOLL_CTL_MOD, connection->fd, &event);
        connection->wants_out = wants_out;
    }
}

/* Replies. */

static size_t one_reply(const uint8_t *at, size_t size, struct verdict *verdict)
{
    *verdict = (struct verdict){0};
    if (!size) return 0;
    if (plan.protocol == 'o') return our_reply(at, size, verdict);
    return plan.protocol == 'r' ? resp_reply(at, size, verdict) : postgres_reply(at, size, verdict);
}

static int receive(struct connection *connection)
{
    uint8_t *at = reserve(&connection->in, RECEIVE_BYTES);
    ssize_t got = recv(connection->fd, at, RECEIVE_BYTES, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (got <= 0) fail("the server closed the connection");
    connection->in.end += (size_t)got;
    return 1;
}

static void note_answer(struct connection *connection, const struct verdict *verdict, uint64_t now, const uint8_t *at,
                        size_t size)
{
    uint32_t index = plan.protocol == 'o' ? verdict->request_id - 1 : connection->order[connection->order_head++ % WINDOW];
    struct slot *slot = &connection->slots[index];
    struct kind *kind = &kinds[slot->kind];
    if (slot->number) {
        connection->answered[slot->number % WINDOW] = 1;
        while (connection->low <= connection->number && connection->answered[connection->low % WINDOW]) connection->low++;
    }
    kind->missing += (uint64_t)verdict->missing;
    if (verdict->error) {
        if (!kind->errors++ && !first_error_size) {
            first_error_size = size < sizeof first_error ? size : sizeof first_error;
            memcpy(first_error, at, first_error_size);
        }
    } else if (kind->then >= 0) {
        issue(connection, index, kind->then, slot->key, slot->start_ns);
        return;
    }
    histogram_add(&kind->latency, now - slot->start_ns);
    slot->number = 0;
    connection->free_slots[connection->free_count++] = index;
    answered++;
    answered_in_time += now <= stop_ns;
}

static void take_replies(struct connection *connection, int refill)
{
    if (!receive(connection)) return;
    uint64_t now = now_ns();
    struct buffer *in = &connection->in;
    struct verdict verdict;
    size_t size;
    while ((size = one_reply(in->bytes + in->start, in->end - in->start, &verdict))) {
        note_answer(connection, &verdict, now, in->bytes + in->start, size);
        in->start += size;
    }
    while (refill && connection->free_count && now < stop_ns && issued < plan.operations) issue_next(connection, now);
    flush(connection);
}

/* Run. */

static void await_prelude(struct connection *connection)
{
    struct verdict verdict;
    for (int reply = 0; reply < plan.prelude_replies;) {
        struct buffer *in = &connection->in;
        size_t size = one_reply(in->bytes + in->start, in->end - in->start, &verdict);
        if (!size) {
            uint8_t *at = reserve(in, RECEIVE_BYTES);
            ssize_t got = recv(connection->fd, at, RECEIVE_BYTES, 0);
            if (got <= 0) fail("the server refused the connection");
            in->end += (size_t)got;
            continue;
        }
        if (verdict.error) fail("the server answered the greeting with an error");
        in->start += size;
        reply++;
    }
}

static void open_connection(struct connection *connection)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", plan.path);
    connection->fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(connection->fd, (struct sockaddr *)&address, sizeof address)) fail(plan.path);
    connection->slots = calloc((size_t)plan.depth, sizeof *connection->slots);
    connection->free_slots = calloc((size_t)plan.depth, sizeof *connection->free_slots);
    connection->order = calloc(WINDOW, sizeof *connection->order);
    for (int slot = plan.depth; slot--;) connection->free_slots[connection->free_count++] = (uint32_t)slot;
    connection->low = 1;
    if (plan.prelude_size) {
        if (send(connection->fd, plan.prelude, plan.prelude_size, MSG_NOSIGNAL) < 0) fail("greeting");
        await_prelude(connection);
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    epoll_ctl(poller, EPOLL_CTL_ADD, connection->fd, &event);
}

static uint64_t next_due(uint64_t due_ns) { return due_ns + (uint64_t)(-log(1.0 - random_unit()) / plan.rate * 1e9); }

/* Sends what is due; returns how long to wait for the next. A connection without a free slot leaves it to the others;
 * when none has one, requests stay due and their latency grows: that is the server's doing and is counted. */
static struct timespec send_due(uint64_t *due_ns, uint64_t now)
{
    while (*due_ns <= now && *due_ns < stop_ns) {
        struct connection *connection = &connections[random_below((uint64_t)plan.connections)];
        for (int tries = 0; !connection->free_count && tries < plan.connections; tries++)
            connection = connection + 1 < connections + plan.connections ? connection + 1 : connections;
        if (!connection->free_count) break;
        histogram_add(&lag, now - *due_ns);
        issue_next(connection, *due_ns);
        *due_ns = next_due(*due_ns);
    }
    for (int index = 0; index < plan.connections; index++)
        if (!connections[index].wants_out && connections[index].out.start < connections[index].out.end)
            flush(&connections[index]);
    uint64_t until = *due_ns > now && *due_ns < stop_ns ? *due_ns - now : 1000000; /* late ones wait for an answer */
    return (struct timespec){.tv_nsec = (long)(until < 1000000 ? until : 1000000)};
}

static void run(uint64_t started)
{
    struct epoll_event events[EVENTS];
    stop_ns = started + (uint64_t)(plan.seconds * 1e9);
    uint64_t due_ns = plan.rate > 0 ? next_due(started) : stop_ns;
    for (int index = 0; plan.rate <= 0 && index < plan.connections; index++) {
        while (connections[index].free_count && issued < plan.operations) issue_next(&connections[index], started);
        flush(&connections[index]);
    }
    for (uint64_t now = started; now < stop_ns + DRAIN_NS; now = now_ns()) {
        int no_more = now >= stop_ns ? due_ns >= stop_ns : issued >= plan.operations;
        if (issued == answered && no_more) break;
        struct timespec wait = {.tv_nsec = 100000000};
        if (plan.rate > 0) wait = send_due(&due_ns, now);
        if (plan.rate >= TICKING_RATE) {
            struct timespec tick = {.tv_nsec = TICK_NS};
            nanosleep(&tick, NULL);
            wait.tv_nsec = 0;
        }
        int count = epoll_pwait2(poller, events, EVENTS, &wait, NULL);
        for (int index = 0; index < count; index++) {
            struct connection *connection = events[index].data.ptr;
            if (events[index].events & EPOLLOUT) flush(connection);
            if (events[index].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) take_replies(connection, plan.rate <= 0);
        }
    }
    for (; due_ns < stop_ns; due_ns = next_due(due_ns)) issued++; /* due and never sent: unanswered too */
}

int main(void)
{
    prctl(PR_SET_TIMERSLACK, 1000ul); /* 1 us: the open loop sleeps until the next request is due */
    plan.operations = UINT64_MAX;
    read_plan();
    poller = epoll_create1(0);
    connections = calloc((size_t)plan.connections, sizeof *connections);
    for (int index = 0; index < plan.connections; index++) open_connection(&connections[index]);
    puts("ready");
    fflush(stdout);
    if (getchar() == EOF) return 1;
    double cpu = cpu_seconds();
    uint64_t started = now_ns();
    run(started);
    uint64_t ended = now_ns();
    double window = plan.operations == UINT64_MAX ? plan.seconds : (double)(ended - started) / 1e9;
    printf("window %.6f\nelapsed %.6f\ncpu %.6f\nissued %llu\nanswered %llu\nin_time %llu\ninserted %llu\n", window,
           (double)(ended - started) / 1e9,
           cpu_seconds() - cpu, (unsigned long long)issued, (unsigned long long)answered,
           (unsigned long long)answered_in_time, (unsigned long long)keys.inserted);
    for (int kind = 0; kind < kind_count; kind++) {
        printf("kind %s %llu %llu\n", kinds[kind].name, (unsigned long long)kinds[kind].errors,
               (unsigned long long)kinds[kind].missing);
        histogram_print(&kinds[kind].latency, "latency", kind);
    }
    histogram_print(&lag, "lag", 0);
    if (first_error_size) {
        printf("error ");
        for (uint64_t at = 0; at < first_error_size; at++) printf("%02x", (uint8_t)first_error[at]);
        puts("");
    }
    return 0;
}
