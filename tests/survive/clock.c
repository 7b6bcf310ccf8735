/* A wall clock that jumps, for one process and its children: preload it, and PINFOLD_CLOCK names a file of one 64-bit number, the
   nanoseconds that are added to the real time. The file is mapped, so a jump is seen at once, everywhere. Clocks that only go forward
   (monotonic, boot time, CPU time) are left alone, as the kernel leaves them when its wall clock is set. A wait until a wall clock time is
   moved along, so that it lasts as long as its caller meant; one that is under way when the clock jumps is not cut short. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL

static const volatile int64_t still = 0;
static const volatile int64_t *added = &still;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("PINFOLD_CLOCK");
    if (!path)
        return;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return;
    void *mapped = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED)
        added = mapped;
    close(file);
}

static void shift(struct timespec *moment, int64_t by)
{
    int64_t nanoseconds = moment->tv_nsec + by % SECOND;
    moment->tv_sec += by / SECOND;
    if (nanoseconds < 0) {
        nanoseconds += SECOND;
        moment->tv_sec--;
    } else if (nanoseconds >= SECOND) {
        nanoseconds -= SECOND;
        moment->tv_sec++;
    }
    moment->tv_nsec = nanoseconds;
}

int clock_gettime(clockid_t clock, struct timespec *moment)
{
    int failed = syscall(SYS_clock_gettime, clock, moment);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        shift(moment, *added);
    return failed;
}

int gettimeofday(struct timeval *restrict moment, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    moment->tv_sec = now.tv_sec;
    moment->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *moment)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (moment)
        *moment = now.tv_sec;
    return now.tv_sec;
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex, const struct timespec *restrict until)
{
    static int (*wait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (!wait) {
        *(void **)&wait = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
        if (!wait)
            *(void **)&wait = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    }
    struct timespec real = *until, now, monotonic;
    clock_gettime(CLOCK_REALTIME, &now);
    clock_gettime(CLOCK_MONOTONIC, &monotonic);
    /* A condition may count by the monotonic clock; its times lie near that clock, and are left alone. */
    if (llabs((long long)until->tv_sec - now.tv_sec) < llabs((long long)until->tv_sec - monotonic.tv_sec))
        shift(&real, -*added);
    return wait(condition, mutex, &real);
}
