/* A ROM that says ECHO-UP on the first serial port, and then prints what is typed there. It uses no memory and no interrupt. */
    .code16
    .globl _start
_start:
    movw $0x3f8, %dx
    .irp code, 69, 67, 72, 79, 45, 85, 80, 10
    movb $\code, %al
    outb %al, %dx
    .endr
1:  movw $0x3fd, %dx            /* the line's status: is there a letter? */
    inb %dx, %al
    pause
    testb $1, %al
    jz 1b
    movw $0x3f8, %dx
    inb %dx, %al
    outb %al, %dx
    jmp 1b
    .org 0xfff0                 /* where a processor begins */
    jmp _start
    .org 0x10000
