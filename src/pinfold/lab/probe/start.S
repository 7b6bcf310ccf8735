/* From the reset vector to C: 16-bit, 32-bit, 64-bit with 4 GiB mapped one to one; then the two ways back into the kernel part.
 *
 * Memory: 0x10000 page tables, 0x16000 task state, 0x17000 interrupt table, 0x20000 this image, 0x40000 bss,
 * 0x80000 kernel stack (downwards), 0x90000 user stack (downwards), 0x100000 and up the disk's queue and buffers.
 */
    .set PAGE_TABLES, 0x10000
    .set TASK_STATE, 0x16000
    .set INTERRUPT_TABLE, 0x17000
    .set KERNEL_STACK, 0x80000
    .set USER_STACK, 0x90000

    .code16
    .section .text.start, "ax"
    .globl _start
_start:                         /* at F000:0000, the ROM's alias below 1 MiB */
    cli
    cld
    xorw %ax, %ax
    movw %ax, %ss
    movw $0x7000, %sp
    movw $0xF000, %ax           /* copy the 64 KiB to 2000:0000, where it is linked */
    movw %ax, %ds
    movw $0x2000, %ax
    movw %ax, %es
    xorw %si, %si
    xorw %di, %di
    movw $0x4000, %cx
    rep movsl
    ljmpw $0x2000, $(copied - _start)
copied:
    movw $0x2000, %ax
    movw %ax, %ds
    lgdtl (gdt_pointer - _start)
    movl %cr0, %eax
    orl $1, %eax                /* protected mode */
    movl %eax, %cr0
    ljmpl $0x08, $protected

    .code32
protected:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $KERNEL_STACK, %esp
    movl $__bss_start, %edi
    movl $__bss_end, %ecx
    subl %edi, %ecx
    shrl $2, %ecx
    xorl %eax, %eax
    rep stosl
    movl $PAGE_TABLES, %edi     /* one table of each upper level, four of 2 MiB pages; all for user code too (7) */
    movl $(6 * 1024), %ecx
    rep stosl
    movl $0x11007, 0x10000
    movl $0x12007, 0x11000
    movl $0x13007, 0x11008
    movl $0x14007, 0x11010
    movl $0x15007, 0x11018
    movl $0x12000, %edi
    movl $0x87, %eax
    movl $2048, %ecx
1:  movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    decl %ecx
    jnz 1b
    movl %cr4, %eax
    orl $0x620, %eax            /* PAE, OSFXSR, OSXMMEXCPT */
    movl %eax, %cr4
    movl $PAGE_TABLES, %eax
    movl %eax, %cr3
    movl $0xC0000080, %ecx      /* EFER */
    rdmsr
    orl $0x101, %eax            /* LME, SCE */
    wrmsr
    movl %cr0, %eax
    orl $0x80000000, %eax       /* paging, and with it long mode */
    movl %eax, %cr0
    ljmpl $0x18, $long_mode

    .code64
long_mode:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $KERNEL_STACK, %esp
    call kernel_prepare         /* fills the interrupt table and the task state */
    movw $0x38, %ax
    ltr %ax
    lidt idt_pointer
    call kernel_main            /* returns for what runs as user code */
    pushq $0x2b
    pushq $USER_STACK
    pushq $0x0202               /* interrupts on: only the power button's line is open */
    pushq $0x33
    leaq user_main, %rax
    pushq %rax
    iretq

/* User code asks the kernel part by an invalid instruction (ud2): every hypervisor passes that on at once. */
    .globl on_call
on_call:
    addq $2, (%rsp)             /* past the ud2 */
    pushq %rax; pushq %rcx; pushq %rdx; pushq %rbx; pushq %rbp; pushq %rsi; pushq %rdi
    pushq %r8; pushq %r9; pushq %r10; pushq %r11; pushq %r12; pushq %r13; pushq %r14; pushq %r15
    cld
    movq %rsp, %rdi
    call kernel_call
    popq %r15; popq %r14; popq %r13; popq %r12; popq %r11; popq %r10; popq %r9; popq %r8
    popq %rdi; popq %rsi; popq %rbp; popq %rbx; popq %rdx; popq %rcx; popq %rax
    iretq

    .globl on_interrupt
on_interrupt:                   /* the timer: acknowledge it */
    pushq %rax
    movb $0x20, %al
    outb %al, $0x20
    popq %rax
    iretq

    .globl on_power_management
on_power_management:            /* what is not the button ends nothing: acknowledge it at both halves of the controller */
    pushq %rax; pushq %rcx; pushq %rdx; pushq %rsi; pushq %rdi; pushq %r8; pushq %r9; pushq %r10; pushq %r11
    cld
    call kernel_power_management
    movb $0x20, %al
    outb %al, $0xa0
    outb %al, $0x20
    popq %r11; popq %r10; popq %r9; popq %r8; popq %rdi; popq %rsi; popq %rdx; popq %rcx; popq %rax
    iretq

    .balign 16
    .globl exceptions
exceptions:                     /* 16 bytes for each of 32 */
    .set number, 0
    .rept 32
    pushq $number
    jmp on_exception
    .balign 16
    .set number, number + 1
    .endr
on_exception:
    movq %rsp, %rdi
    call kernel_exception
1:  hlt
    jmp 1b

    .balign 8
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff    /* 08 32-bit code */
    .quad 0x00cf93000000ffff    /* 10 data */
    .quad 0x00af9b000000ffff    /* 18 64-bit code */
    .quad 0
    .quad 0x00cff3000000ffff    /* 28 user data */
    .quad 0x00affb000000ffff    /* 30 user 64-bit code */
    .quad 0x0000890160000067    /* 38 task state at 0x16000 */
    .quad 0
idt_pointer:
    .word 48 * 16 - 1
    .quad INTERRUPT_TABLE
gdt_pointer:
    .word . - gdt - 1
    .long gdt

    .section .reset, "ax"
    .code16
    ljmpw $0xF000, $0
    .byte 0x30, 0x31, 0x2f, 0x30, 0x31, 0x2f, 0x30, 0x31, 0, 0xfc, 0
