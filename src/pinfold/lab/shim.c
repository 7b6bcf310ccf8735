/* Lets libvirtd and QEMU name CPUs and memory nodes that this machine lacks. Preloaded into the lab's libvirtd, and so into its QEMUs.
 *
 * An affinity that is asked for is folded onto the machine's own CPUs, and what was asked is written to LAB_RECORDS/<tid>: one line, a
 * cpulist. A new thread inherits its creator's record, as the kernel lets it inherit the mask. Memory policies for absent nodes use node 0.
 * Nothing is enforced on CPUs that do not exist: the records tell what was asked, not what the scheduler did.
 *
 * Compiled with -DLAB_ONLINE="0-31" (the CPUs that the lab shows), -DLAB_REAL="0-1" (those to fold onto), -DLAB_RECORDS="/folder" and
 * -DLAB_HUGE="/folder/huge-" (before the KiB of a page, where its file system is mounted). libvirt gives its QEMUs a fresh
 * environment, which is why these are constants.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#define MAX_CPUS 8192
#define HUGETLBFS_MAGIC 0x958458f6

typedef struct {
    unsigned char bits[MAX_CPUS / 8];
} cpus;

static int has(const cpus *set, int cpu) { return set->bits[cpu / 8] >> (cpu % 8) & 1; }
static void add(cpus *set, int cpu) { set->bits[cpu / 8] |= 1 << (cpu % 8); }

/* ---- cpulists, with no allocation and no stdio: they run between fork and exec too ---- */

static void parse(const char *text, cpus *set) {
    memset(set, 0, sizeof *set);
    while (*text >= '0' && *text <= '9') {
        int first = 0, last;
        while (*text >= '0' && *text <= '9') first = first * 10 + (*text++ - '0');
        last = first;
        if (*text == '-') {
            text++;
            for (last = 0; *text >= '0' && *text <= '9';) last = last * 10 + (*text++ - '0');
        }
        for (int cpu = first; cpu <= last && cpu < MAX_CPUS; cpu++) add(set, cpu);
        if (*text == ',') text++;
    }
}

static char *put_number(char *out, int number) {
    char digits[12];
    int n = 0;
    do digits[n++] = '0' + number % 10;
    while (number /= 10);
    while (n) *out++ = digits[--n];
    return out;
}

/* The longest list has every second CPU: 4,096 numbers of at most four digits, each with its comma. */
#define LIST_SIZE (MAX_CPUS / 2 * 5 + 2)

static size_t format(const cpus *set, char *text) {
    char *out = text;
    for (int cpu = 0; cpu < MAX_CPUS; cpu++) {
        if (!has(set, cpu)) continue;
        int last = cpu;
        while (last + 1 < MAX_CPUS && has(set, last + 1)) last++;
        if (out != text) *out++ = ',';
        out = put_number(out, cpu);
        if (last > cpu) {
            *out++ = '-';
            out = put_number(out, last);
        }
        cpu = last;
    }
    *out++ = '\n';
    return out - text;
}

/* ---- records ---- */

static int own_tid(void) { return (int)syscall(SYS_gettid); }

static void record_path(char *path, const char *prefix, int tid, int writer) {
    size_t n = strlen(LAB_RECORDS);
    memcpy(path, LAB_RECORDS, n);
    path[n++] = '/';
    while (*prefix) path[n++] = *prefix++;
    char *end = put_number(path + n, tid);
    if (writer) {
        *end++ = '.';
        end = put_number(end, writer);
    }
    *end = 0;
}

/* Whole or not at all: written beside and renamed, so that a reader never sees half a list. */
static void write_record(int tid, const cpus *set) {
    char list[LIST_SIZE], beside[256], path[256];
    size_t size = format(set, list);
    record_path(beside, ".", tid, own_tid());
    record_path(path, "", tid, 0);
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return;
    int whole = write(fd, list, size) == (ssize_t)size;
    close(fd);
    if (!whole || rename(beside, path)) unlink(beside);
}

static int read_record(int tid, cpus *set) {
    char list[LIST_SIZE], path[256];
    record_path(path, "", tid, 0);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t size = read(fd, list, sizeof list - 1);
    close(fd);
    if (size <= 0) return 0;
    list[size] = 0;
    parse(list, set);
    return 1;
}

static int process_of(int tid) {
    char path[64] = "/proc/", text[1024];
    char *end = put_number(path + 6, tid);
    memcpy(end, "/status", 8);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t size = read(fd, text, sizeof text - 1);
    close(fd);
    if (size <= 0) return 0;
    text[size] = 0;
    char *line = strstr(text, "\nTgid:");
    return line ? atoi(line + 6) : 0;
}

/* What was asked for a thread; without a record, for its process; without that, every CPU of the lab. */
static void asked(int tid, cpus *set) {
    if (read_record(tid, set)) return;
    int process = process_of(tid);
    if (process && process != tid && read_record(process, set)) return;
    parse(LAB_ONLINE, set);
}

/* ---- affinity ---- */

static int fold(int tid, const unsigned char *mask, size_t size) {
    cpus online, real, want = {0};
    cpu_set_t folded;
    int fold_onto[CPU_SETSIZE], reals = 0, any = 0;
    parse(LAB_ONLINE, &online);
    parse(LAB_REAL, &real);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (has(&real, cpu)) fold_onto[reals++] = cpu;
    CPU_ZERO(&folded);
    /* As the kernel does: CPUs that are not online are dropped, and a set without any is EINVAL. */
    for (int cpu = 0; cpu < MAX_CPUS && (size_t)cpu < size * 8; cpu++) {
        if (!(mask[cpu / 8] >> (cpu % 8) & 1) || !has(&online, cpu)) continue;
        add(&want, cpu);
        CPU_SET(fold_onto[cpu % reals], &folded);
        any = 1;
    }
    if (!any) return EINVAL;
    if (syscall(SYS_sched_setaffinity, tid, sizeof folded, &folded) < 0) return errno;
    write_record(tid, &want);
    return 0;
}

static void unfold(int tid, unsigned char *mask, size_t size) {
    cpus set;
    asked(tid, &set);
    memset(mask, 0, size);
    memcpy(mask, set.bits, size < sizeof set.bits ? size : sizeof set.bits);
}

int sched_setaffinity(pid_t pid, size_t size, const cpu_set_t *mask) {
    int error = fold(pid ? pid : own_tid(), (const unsigned char *)mask, size);
    if (!error) return 0;
    errno = error;
    return -1;
}

int sched_getaffinity(pid_t pid, size_t size, cpu_set_t *mask) {
    unfold(pid ? pid : own_tid(), (unsigned char *)mask, size);
    return 0;
}

/* ---- threads: who they are, and what they inherit ---- */

struct thread {
    void *(*start)(void *);
    void *arg;
    sem_t *known;
    cpus inherited;
    pthread_t handle;
    int tid;
    struct thread *next;
};

static int (*next_pthread_create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
static pid_t (*next_fork)(void);
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct thread *threads;
static pthread_key_t at_exit;

static void forget(void *gone) {
    pthread_mutex_lock(&lock);
    for (struct thread **at = &threads; *at; at = &(*at)->next) {
        if (*at != gone) continue;
        *at = (*at)->next;
        break;
    }
    pthread_mutex_unlock(&lock);
    free(gone);
}

__attribute__((constructor)) static void set_up(void) {
    *(void **)&next_pthread_create = dlsym(RTLD_NEXT, "pthread_create");
    *(void **)&next_fork = dlsym(RTLD_NEXT, "fork");
    pthread_key_create(&at_exit, forget);
}

static void *begin(void *arg) {
    struct thread *self = arg;
    self->tid = own_tid();
    self->handle = pthread_self();
    write_record(self->tid, &self->inherited);
    pthread_mutex_lock(&lock);
    self->next = threads;
    threads = self;
    pthread_mutex_unlock(&lock);
    pthread_setspecific(at_exit, self);
    void *(*start)(void *) = self->start;
    void *start_arg = self->arg;
    sem_post(self->known);
    return start(start_arg);
}

/* Returns when the new thread has its record, so that its creator can name it at once. */
int pthread_create(pthread_t *handle, const pthread_attr_t *attr, void *(*start)(void *), void *arg) {
    if (!next_pthread_create) set_up();
    struct thread *thread = calloc(1, sizeof *thread);
    sem_t known;
    if (!thread) return EAGAIN;
    sem_init(&known, 0, 0);
    thread->start = start;
    thread->arg = arg;
    thread->known = &known;
    asked(own_tid(), &thread->inherited);
    int error = next_pthread_create(handle, attr, begin, thread);
    if (error)
        free(thread);
    else
        while (sem_wait(&known) && errno == EINTR) {
        }
    sem_destroy(&known);
    return error;
}

static int tid_of(pthread_t handle) {
    int tid = 0;
    if (pthread_equal(handle, pthread_self())) return own_tid();
    pthread_mutex_lock(&lock);
    for (struct thread *at = threads; at && !tid; at = at->next)
        if (pthread_equal(at->handle, handle)) tid = at->tid;
    pthread_mutex_unlock(&lock);
    return tid ? tid : getpid(); /* the main thread is the only one that nobody created */
}

int pthread_setaffinity_np(pthread_t handle, size_t size, const cpu_set_t *mask) {
    return fold(tid_of(handle), (const unsigned char *)mask, size);
}

int pthread_getaffinity_np(pthread_t handle, size_t size, cpu_set_t *mask) {
    unfold(tid_of(handle), (unsigned char *)mask, size);
    return 0;
}

pid_t fork(void) {
    cpus inherited;
    if (!next_fork) set_up();
    asked(own_tid(), &inherited);
    pid_t pid = next_fork();
    if (pid == 0) write_record(own_tid(), &inherited);
    return pid;
}

/* ---- memory ---- */

static const unsigned long node_zero = 1;

static int names_a_node(const unsigned long *nodes, unsigned long max) {
    for (unsigned long n = 0; nodes && n * 8 * sizeof *nodes < max; n++)
        if (nodes[n]) return 1;
    return 0;
}

/* Huge pages that this machine lacks: libvirt finds a hugetlbfs at LAB_HUGE<KiB>, which is a tmpfs, and QEMU's preallocation does nothing,
 * so that pages are booked and not taken. */
static int fake_hugetlbfs(const char *path, struct statfs *found) {
    int error = (int)syscall(SYS_statfs, path, found);
    if (!error && !strncmp(path, LAB_HUGE, strlen(LAB_HUGE))) {
        found->f_type = HUGETLBFS_MAGIC;
        found->f_bsize = atol(path + strlen(LAB_HUGE)) * 1024;
    }
    return error;
}

int statfs(const char *path, struct statfs *found) { return fake_hugetlbfs(path, found); }
int statfs64(const char *path, struct statfs64 *found) { return fake_hugetlbfs(path, (struct statfs *)found); }

int madvise(void *start, size_t size, int advice) {
    return advice == MADV_POPULATE_WRITE ? 0 : (int)syscall(SYS_madvise, start, size, advice);
}

long mbind(void *start, unsigned long size, int mode, const unsigned long *nodes, unsigned long max, unsigned flags) {
    if (names_a_node(nodes, max)) return syscall(SYS_mbind, start, size, mode, &node_zero, 2UL, flags);
    return syscall(SYS_mbind, start, size, mode, nodes, max, flags);
}

long set_mempolicy(int mode, const unsigned long *nodes, unsigned long max) {
    if (names_a_node(nodes, max)) return syscall(SYS_set_mempolicy, mode, &node_zero, 2UL);
    return syscall(SYS_set_mempolicy, mode, nodes, max);
}
