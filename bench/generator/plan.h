/* What to do: read from stdin, one option or kind of request a line, until "end". */
#ifndef BENCH_PLAN_H
#define BENCH_PLAN_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "histogram.h"
#include "keys.h"
#include "replies.h"

enum { KINDS_MAX = 8, PATCHES_MAX = 8 };

struct patch {
    char type; /* 'd': decimal digits of key / divisor; 'r': random bytes */
    uint32_t offset, length;
    uint64_t divisor;
};

struct kind {
    char name[32];
    double weight_until; /* running sum of weights up to and with this kind */
    int write, insert, then;
    uint8_t *bytes;
    size_t size;
    int patch_count;
    struct patch patches[PATCHES_MAX];
    struct histogram latency;
    uint64_t errors, missing;
};

static struct {
    char path[108], protocol;
    int connections, depth;
    double seconds, rate;
    uint64_t operations;
    uint8_t *prelude;
    size_t prelude_size;
    int prelude_replies;
} plan;

static struct kind kinds[KINDS_MAX];
static int kind_count;
static struct keys keys = {.theta = 0.99, .count = 1, .insert_step = 1};

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "generator: %s: %s\n", what, errno ? strerror(errno) : "bad input");
    exit(1);
}

static uint8_t *from_hex(const char *text, size_t *size)
{
    *size = strlen(text) / 2;
    uint8_t *bytes = malloc(*size + 1);
    for (size_t at = 0; at < *size; at++) {
        unsigned value;
        if (sscanf(text + 2 * at, "%2x", &value) != 1) fail("hexadecimal");
        bytes[at] = (uint8_t)value;
    }
    return bytes;
}

static void read_kind(char *rest)
{
    if (kind_count == KINDS_MAX) fail("too many kinds");
    struct kind *kind = &kinds[kind_count];
    char *save, *word = strtok_r(rest, " \n", &save);
    snprintf(kind->name, sizeof kind->name, "%s", word);
    double before = kind_count ? kinds[kind_count - 1].weight_until : 0.0;
    kind->weight_until = before + atof(strtok_r(NULL, " \n", &save));
    word = strtok_r(NULL, " \n", &save);
    kind->write = strchr(word, 'w') != NULL;
    kind->insert = strchr(word, 'i') != NULL;
    kind->then = atoi(strtok_r(NULL, " \n", &save));
    kind->bytes = from_hex(strtok_r(NULL, " \n", &save), &kind->size);
    while ((word = strtok_r(NULL, " \n", &save))) {
        struct patch *patch = &kind->patches[kind->patch_count++];
        unsigned long long divisor = 1;
        if (kind->patch_count > PATCHES_MAX ||
            sscanf(word, "%c:%u:%u:%llu", &patch->type, &patch->offset, &patch->length, &divisor) < 3)
            fail("patch");
        patch->divisor = divisor;
        if (patch->offset + patch->length > kind->size) fail("patch beyond the request");
    }
    kind_count++;
}

static void read_option(const char *name, char *rest)
{
    rest[strcspn(rest, "\n")] = 0;
    if (!strcmp(name, "socket")) snprintf(plan.path, sizeof plan.path, "%s", rest);
    else if (!strcmp(name, "protocol")) plan.protocol = rest[0];
    else if (!strcmp(name, "error_tag")) our_error_tag = atoi(rest);
    else if (!strcmp(name, "connections")) plan.connections = atoi(rest);
    else if (!strcmp(name, "depth")) plan.depth = atoi(rest);
    else if (!strcmp(name, "seconds")) plan.seconds = atof(rest);
    else if (!strcmp(name, "rate")) plan.rate = atof(rest);
    else if (!strcmp(name, "operations")) plan.operations = strtoull(rest, NULL, 10);
    else if (!strcmp(name, "seed")) random_state = scramble(strtoull(rest, NULL, 10));
    else if (!strcmp(name, "keys")) keys.count = strtoull(rest, NULL, 10);
    else if (!strcmp(name, "insert_start")) keys.insert_start = strtoull(rest, NULL, 10);
    else if (!strcmp(name, "insert_step")) keys.insert_step = strtoull(rest, NULL, 10);
    else if (!strcmp(name, "theta")) keys.theta = atof(rest);
    else if (!strcmp(name, "distribution"))
        keys.distribution = *rest == 'z' ? ZIPFIAN : *rest == 'l' ? LATEST : *rest == 's' ? SEQUENTIAL : UNIFORM;
    else if (!strcmp(name, "prelude")) {
        char *space = strchr(rest, ' ');
        plan.prelude_replies = space ? atoi(space + 1) : 1;
        if (space) *space = 0;
        plan.prelude = from_hex(rest, &plan.prelude_size);
    } else
        fail(name);
}

static void read_plan(void)
{
    char *line = NULL;
    size_t capacity = 0;
    while (getline(&line, &capacity, stdin) > 0 && strcmp(line, "end\n")) {
        char *space = strchr(line, ' ');
        if (!space) fail("plan");
        *space = 0;
        if (!strcmp(line, "kind")) read_kind(space + 1);
        else read_option(line, space + 1);
    }
    free(line);
    if (!kind_count || plan.connections < 1 || plan.depth < 1) fail("incomplete plan");
    keys_prepare(&keys);
}

#endif
