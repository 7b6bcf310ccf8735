/* A boot sector that counts its boots in the sector behind it, tells the count on the first serial port as `#1` (SIGN is another sign),
 * and waits for its power button. It runs on a BIOS of machine `pc`, which has put ACPI's ports at 0x600.
 */
#ifndef SIGN
#define SIGN '#'
#endif
    .code16
    .globl _start
_start:
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $0x7c00, %sp
    movw $0x0201, %ax           /* read sector 2 of the boot disk (in dl) */
    movw $0x8000, %bx
    movw $2, %cx
    movb $0, %dh
    int $0x13
    incb 0x8000
    movw $0x0301, %ax           /* write it back */
    movw $2, %cx
    movb $0, %dh
    int $0x13
    movw $0x3f8, %dx
    movb $SIGN, %al
    outb %al, %dx
    movb 0x8000, %al
    addb $'0', %al
    outb %al, %dx
    movb $'\n', %al
    outb %al, %dx
    movw $0x602, %dx            /* let the button be noticed; look at it with each tick of the BIOS's timer */
    movw $0x100, %ax
    outw %ax, %dx
1:  hlt
    movw $0x600, %dx
    inw %dx, %ax
    testw $0x100, %ax
    jz 1b
    movw $0x604, %dx            /* S5 */
    movw $0x2000, %ax
    outw %ax, %dx
    jmp 1b
    .org 510
    .word 0xaa55
