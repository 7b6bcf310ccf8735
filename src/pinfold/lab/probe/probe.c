/* A guest of 64 KiB with no operating system: it idles, spins, does disk I/O at a steady tick, or measures when it was kept from running.
 * Whatever it does, it powers itself off when its power button is pressed, unless it was made deaf to that.
 *
 * It says everything on its first serial port; the first line is `PROBE-UP behaviour=N`. What it does is stamped into `parameters` before it
 * boots (rom.py). Initialisation and port I/O run as kernel code; spinning and measuring as user code, since some hypervisors interpret
 * kernel code and user code runs natively under all of them. Only the first vCPU runs; the others wait for a wake-up that never comes.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

enum { IDLE, SPIN, TICK, MEASURE };
enum { NO_IO, DISK, SERIAL };

/* The order is rom.py's. Times are in the units of their names; `tsc_khz` is the host's time-stamp counter. */
volatile struct {
    char mark[8];
    u32 behaviour, tsc_khz, round_ms, rounds, period_us, io, io_period_us, io_bytes, io_depth, io_write, deaf;
} parameters __attribute__((section(".data"))) = {.mark = {'P', 'R', 'O', 'B', 'E', 'P', 'R', 'M'}};

extern void on_call(void), on_interrupt(void), on_power_management(void);
extern char exceptions[];

/* ---- ports and the serial line ---- */

static inline void outb(u16 port, u8 value) { asm volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }
static inline void outw(u16 port, u16 value) { asm volatile("outw %0, %1" ::"a"(value), "Nd"(port)); }
static inline void outl(u16 port, u32 value) { asm volatile("outl %0, %1" ::"a"(value), "Nd"(port)); }

static inline u8 inb(u16 port) {
    u8 value;
    asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline u16 inw(u16 port) {
    u16 value;
    asm volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline u32 inl(u16 port) {
    u32 value;
    asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static void print(const char *text) {
    while (*text) outb(0x3f8, *text++);
}

static void print_number(u64 value) {
    char digits[24];
    int n = 0;
    do digits[n++] = '0' + value % 10;
    while (value /= 10);
    while (n) outb(0x3f8, digits[--n]);
}

static void print_letters(u32 count) {
    for (u32 n = 0; n < count; n++) outb(0x3f8, 'a' + n % 26);
}

/* ---- PCI configuration ---- */

static u32 read_config(u32 address) {
    outl(0xcf8, 0x80000000u | address);
    return inl(0xcfc);
}

static void write_config(u32 address, u32 value) {
    outl(0xcf8, 0x80000000u | address);
    outl(0xcfc, value);
}

/* ---- the power button: ACPI's fixed hardware, on PIIX4 (machine pc) and ICH9 (q35) ---- */

#define POWER_PORTS 0x600 /* status; enable at 2; control at 4, as ACPI 4.8.3 has them */
#define PIIX4 (1 << 11 | 3 << 8)
#define ICH9 (31 << 11)
#define POWER_INTERRUPT 9
enum { POWER_BUTTON = 1 << 8, ACPI_MODE = 1, SLEEP = 1 << 13 };

static int has_power_button(void) {
    if (read_config(PIIX4) == 0x71138086) {
        write_config(PIIX4 | 0x40, POWER_PORTS | 1);
        write_config(PIIX4 | 0x80, read_config(PIIX4 | 0x80) | 1);
        return 1;
    }
    if (read_config(ICH9) == 0x29188086) {
        write_config(ICH9 | 0x40, POWER_PORTS | 1);
        write_config(ICH9 | 0x44, 0x80); /* the ports on, their interrupt 9 */
        return 1;
    }
    return 0;
}

/* Interrupt 9 says that the button was pressed: enter S5, whose sleep type is 0 on these machines. */
void kernel_power_management(void) {
    if (!(inw(POWER_PORTS) & POWER_BUTTON)) return;
    print("POWER-BUTTON\n");
    outw(POWER_PORTS + 4, SLEEP | ACPI_MODE);
    for (;;) asm volatile("cli; hlt");
}

/* ---- the disk: a legacy virtio-blk function, as Virtual I/O Device 0.9.5 has it ---- */

struct descriptor {
    u64 address;
    u32 length;
    u16 flags, next;
};
struct available {
    u16 flags, index, ring[256];
};
struct used {
    u16 flags, index;
    struct {
        u32 id, length;
    } ring[256];
};
enum { HAS_NEXT = 1, DEVICE_WRITES = 2 };

#define QUEUE 0x100000UL
#define REQUESTS 0x180000UL /* 32 bytes each: type, reserved, sector; the status byte at 16 */
#define BUFFER 0x200000UL
#define DISK_PORTS 0xc000
#define VIRTIO_BLK 0x10011af4

static volatile struct descriptor *const descriptors = (void *)QUEUE;
static volatile struct available *available;
static volatile struct used *used;
static u32 queue_size, depth;

static int find_disk(void) {
    for (u32 slot = 0; slot < 32; slot++) {
        if (read_config(slot << 11) != VIRTIO_BLK) continue;
        write_config(slot << 11 | 0x10, DISK_PORTS);
        write_config(slot << 11 | 0x04, 5); /* ports and bus mastering */
        return 1;
    }
    return 0;
}

/* Sets up `io_depth` requests of three descriptors each (header, data, status), to be handed over again and again. */
static int prepare_disk(void) {
    if (!find_disk()) return 0;
    outb(DISK_PORTS + 0x12, 0); /* reset; then: seen, driver known */
    outb(DISK_PORTS + 0x12, 1);
    outb(DISK_PORTS + 0x12, 3);
    outl(DISK_PORTS + 0x04, 0); /* no features */
    outw(DISK_PORTS + 0x0e, 0);
    queue_size = inw(DISK_PORTS + 0x0c);
    if (queue_size == 0 || queue_size > 256) return 0;
    available = (void *)(QUEUE + 16UL * queue_size);
    u64 end = QUEUE + 16UL * queue_size + 6 + 2 * queue_size;
    used = (void *)((end + 4095) & ~4095UL);
    outl(DISK_PORTS + 0x08, QUEUE >> 12);
    outb(DISK_PORTS + 0x12, 7);
    depth = parameters.io_depth < queue_size / 3 ? parameters.io_depth : queue_size / 3;
    for (u32 n = 0; n < depth; n++) {
        volatile u32 *request = (void *)(REQUESTS + 32UL * n);
        request[0] = parameters.io_write;
        request[1] = request[2] = request[3] = 0;
        volatile struct descriptor *header = &descriptors[3 * n], *data = header + 1, *status = header + 2;
        header->address = (u64)request, header->length = 16, header->flags = HAS_NEXT, header->next = 3 * n + 1;
        data->address = BUFFER, data->length = parameters.io_bytes, data->next = 3 * n + 2;
        data->flags = parameters.io_write ? HAS_NEXT : HAS_NEXT | DEVICE_WRITES;
        status->address = (u64)request + 16, status->length = 1, status->flags = DEVICE_WRITES;
    }
    available->flags = 1; /* no interrupts */
    return 1;
}

static int disk_is_idle(void) { return (u16)(available->index - used->index) == 0; }

/* Fills the ring with every request; who calls it kicks the device. */
static void queue_requests(void) {
    for (u32 n = 0; n < depth; n++) available->ring[(u16)(available->index + n) % queue_size] = 3 * n;
    asm volatile("mfence" ::: "memory");
    available->index += depth;
}

/* ---- the kernel part ---- */

enum { CALL_PRINT, CALL_NUMBER, CALL_KICK, CALL_HALT, CALL_PREPARE_DISK, CALL_LETTERS };

struct registers {
    u64 r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
};

void kernel_exception(u64 *frame) {
    print("EXCEPTION ");
    print_number(frame[0]);
    print(" at ");
    print_number(frame[1]);
    print("\n");
}

void kernel_call(struct registers *user) {
    switch (user->rax) {
    case CALL_PRINT: print((const char *)user->rdi); break;
    case CALL_NUMBER: print_number(user->rdi); break;
    case CALL_KICK: outw(DISK_PORTS + 0x10, 0); break;
    case CALL_HALT: asm volatile("sti; hlt; cli"); break;
    case CALL_PREPARE_DISK: user->rax = prepare_disk(); break;
    case CALL_LETTERS: print_letters(user->rdi); break;
    }
}

void kernel_prepare(void) {
    volatile u64 *task_state = (void *)0x16000, *gates = (void *)0x17000;
    for (int n = 0; n < 13; n++) task_state[n] = 0;
    *(volatile u64 *)0x16004 = 0x80000; /* the stack on entry from user code */
    for (int n = 0; n < 48; n++) {
        u64 handler = n == 6 ? (u64)on_call : n < 32 ? (u64)exceptions + 16 * n : (u64)on_interrupt;
        if (n == 32 + POWER_INTERRUPT) handler = (u64)on_power_management;
        gates[2 * n] = (handler & 0xffff) | 0x18UL << 16 | 0x8eUL << 40 | (handler >> 16 & 0xffff) << 48;
        gates[2 * n + 1] = handler >> 32;
    }
}

/* The old interrupt controller, with the power button's line open (behind the second half's, 2) where that is listened to, all others closed. */
static void prepare_interrupts(void) {
    int button = !parameters.deaf && has_power_button();
    outb(0x20, 0x11), outb(0x21, 0x20), outb(0x21, 4), outb(0x21, 1), outb(0x21, button ? 0xfb : 0xff);
    outb(0xa0, 0x11), outb(0xa1, 0x28), outb(0xa1, 2), outb(0xa1, 1), outb(0xa1, button ? 0xfd : 0xff);
    *(volatile u32 *)0xfee000f0UL = 0x1ff; /* local APIC on, and its LINT0 to the old controller */
    *(volatile u32 *)0xfee00350UL = 0x700;
    if (button) outw(POWER_PORTS + 4, ACPI_MODE), outw(POWER_PORTS + 2, POWER_BUTTON);
}

/* The timer: channel 0 of the PIT, line 0. */
static void start_timer(u32 period_us) {
    u32 divisor = (u64)period_us * 1193182 / 1000000;
    outb(0x21, inb(0x21) & 0xfe);
    outb(0x43, 0x34), outb(0x40, divisor), outb(0x40, divisor >> 8);
}

/* One batch of I/O a tick, asleep between: a guest that is nearly idle and still keeps its emulator threads busy. */
static void tick(void) {
    u32 batches = 0, busy = 0;
    int disk = parameters.io == DISK && prepare_disk();
    print(disk ? "TICK-DISK\n" : "TICK\n");
    start_timer(parameters.io_period_us);
    for (u32 ticks = 1;; ticks++) {
        asm volatile("sti; hlt; cli");
        if (disk && disk_is_idle()) {
            queue_requests();
            outw(DISK_PORTS + 0x10, 0);
            batches++;
        } else if (disk) {
            busy++;
        } else if (parameters.io == SERIAL) {
            print_letters(parameters.io_bytes);
        }
        if (ticks % 256 == 0) print("T "), print_number(batches), print(" "), print_number(busy), print("\n");
    }
}

void kernel_main(void) {
    prepare_interrupts();
    print("PROBE-UP behaviour="), print_number(parameters.behaviour), print("\n");
    if (parameters.behaviour == TICK) tick();
    while (parameters.behaviour != SPIN && parameters.behaviour != MEASURE) asm volatile("sti; hlt; cli");
}

/* ---- the user part: spinning and measuring ---- */

static inline u64 call(u64 what, u64 argument) {
    u64 result;
    asm volatile("ud2" : "=a"(result) : "a"(what), "D"(argument) : "memory");
    return result;
}

static void say(const char *text) { call(CALL_PRINT, (u64)text); }
static void say_number(const char *name, u64 value) { say(name), call(CALL_NUMBER, value); }

static inline u64 now(void) {
    u32 low, high;
    asm volatile("rdtsc" : "=a"(low), "=d"(high)::"memory");
    return (u64)high << 32 | low;
}

/* Histograms of nanoseconds: exact below 16, then eight buckets to each power of two. pinfold/latency/serial.py has the inverse. */
#define BUCKETS 512
static u32 late[BUCKETS], gaps[BUCKETS];

/* The worst gap in each 20 ms of a round, in us; what lies beyond the last slot is left out. */
#define SLOTS 6000
#define SLOT_MS 20
static u32 worst[SLOTS];

static u32 bucket(u64 ns) {
    if (ns < 16) return ns;
    u32 log = 63 - __builtin_clzl(ns);
    return log * 8 + (ns >> (log - 3) & 7) - 16;
}

static void dump(const char *name, u32 *numbers, u32 count) {
    for (u32 n = 0; n < count; n++) {
        if (!numbers[n]) continue;
        say_number(name, n), say_number(" ", numbers[n]), say("\n");
        numbers[n] = 0;
    }
}

/* What one I/O costs the vCPU itself, in cycles; 0 when the device was still busy. */
static u64 do_io(u32 io) {
    u64 before = now();
    if (io == SERIAL) {
        call(CALL_LETTERS, parameters.io_bytes);
    } else {
        if (!disk_is_idle()) return 0;
        queue_requests();
        before = now();
        call(CALL_KICK, 0);
    }
    return now() - before;
}

/* Reads the clock without pause. A step of more than 2 us is a gap: the vCPU did not run. Beside that, how late each period was noticed. */
static void measure_round(u32 round, u32 io) {
    u64 khz = parameters.tsc_khz, to_ns = (1000000UL << 20) / khz; /* ns = cycles * to_ns >> 20 */
    u64 period = khz * parameters.period_us / 1000, io_period = khz * parameters.io_period_us / 1000, gap = khz * 2 / 1000;
    u64 start = now(), time = start, previous = start, end = start + khz * parameters.round_ms;
    u64 next = start + period, next_io = start + io_period;
    u64 loops = 0, gap_count = 0, gap_sum = 0, gap_most = 0, late_most = 0, io_count = 0, io_sum = 0;
    while (time < end) {
        time = now();
        u64 step = time - previous;
        previous = time;
        loops++;
        if (step > gap) {
            gaps[bucket(step * to_ns >> 20)]++;
            gap_count++;
            gap_sum += step;
            u64 slot = (time - start) / (khz * SLOT_MS), us = step * to_ns / 1000 >> 20;
            if (slot < SLOTS && us > worst[slot]) worst[slot] = us;
            if (step > gap_most) gap_most = step;
        }
        if (time >= next) {
            late[bucket((time - next) * to_ns >> 20)]++;
            if (time - next > late_most) late_most = time - next;
            next += period;
        } else if (io && time >= next_io) {
            u64 cost = do_io(io);
            io_sum += cost;
            io_count += cost != 0;
            next_io = time + io_period;
            previous = now(); /* the cost of its own exit is no gap */
            while (next <= previous) next += period;
        }
    }
    say_number("ROUND ", round), say_number(" cycles=", time - start), say_number(" loops=", loops), say_number(" gaps=", gap_count);
    say_number(" stolen_us=", (gap_sum * to_ns >> 20) / 1000), say_number(" gap_max_ns=", gap_most * to_ns >> 20);
    say_number(" late_max_ns=", late_most * to_ns >> 20), say_number(" ios=", io_count);
    say_number(" io_us=", (io_sum * to_ns >> 20) / 1000), say("\n");
    dump("L ", late, BUCKETS), dump("G ", gaps, BUCKETS), dump("W ", worst, SLOTS), say("END\n");
}

void user_main(void) {
    if (parameters.behaviour == SPIN) {
        say("SPIN\n");
        for (;;) {
        }
    }
    u32 io = parameters.io;
    if (io == DISK && !call(CALL_PREPARE_DISK, 0)) say("NO-DISK\n"), io = NO_IO;
    for (u32 round = 0; round < parameters.rounds; round++) measure_round(round, io);
    say("PROBE-DONE\n");
    for (;;) call(CALL_HALT, 0);
}
