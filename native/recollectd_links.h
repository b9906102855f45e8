/* Lists that run through their members: a member is taken out or put at an end without a search or an allocation. */
#ifndef RECOLLECTD_LINKS_H
#define RECOLLECTD_LINKS_H

typedef struct recollectd_link {
    struct recollectd_link *before, *behind;
    void *owner;
} links;

/* An empty list, or a member of none. */
static inline void links_init(links *link, void *owner) {
    link->before = link->behind = link;
    link->owner = owner;
}

static inline int links_are_in_use(const links *link) { return link->behind != link; }

static inline void links_remove(links *link) {
    link->before->behind = link->behind;
    link->behind->before = link->before;
    link->before = link->behind = link;
}

/* Make it the last of a list, wherever it was. */
static inline void links_append(links *list, links *link) {
    links_remove(link);
    link->before = list->before;
    link->behind = list;
    list->before->behind = link;
    list->before = link;
}

#endif
