/* A ROM that lets go of each PCI device that it is asked to, as a kernel with a driver for ACPI hotplug does. It uses no memory and no interrupt.
   Source: "QEMU<->ACPI BIOS PCI hotplug interface" (docs/specs/acpi_pci_hotplug.rst in QEMU): slots to remove at 0xae04, eject at 0xae08. */
    .code16
    .globl _start
_start:
    movw $0xae04, %dx
    inl %dx, %eax
    pause
    testl %eax, %eax
    jz _start
    movw $0xae08, %dx
    outl %eax, %dx
    jmp _start
    .org 0xfff0                 /* where a processor begins */
    jmp _start
    .org 0x10000
