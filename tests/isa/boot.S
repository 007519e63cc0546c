/* The only code between the emulated CPU's reset and the kernel, in place of a BIOS and a boot loader.
 *
 * Comes in: RAM that guest.py has laid out (boot parameters at PARAMETERS, the kernel's protected-mode part at KERNEL).
 * Goes out: a jump to the kernel's 32-bit entry, in flat protected mode, as Documentation/x86/boot.rst asks for it.
 * It never touches a device: the kernel sets up what it uses.
 *
 * Linked as 64 KiB at 0xffff0000, so that its last 16 bytes lie at the reset vector. */
        .equ    ROM, 0xffff0000
        .equ    CODE, 0x10              /* the two selectors that the boot protocol fixes */
        .equ    DATA, 0x18
        .text
        .code16
start:
        cli
        lgdtl   %cs:(table_pointer - start)
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmpl   $CODE, $(ROM + protected - start)

        .code32
protected:
        movl    $DATA, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %fs
        movl    %eax, %gs
        movl    %eax, %ss
        xorl    %ebx, %ebx
        xorl    %ebp, %ebp
        xorl    %edi, %edi
        movl    $PARAMETERS, %esi
        movl    $KERNEL, %eax
        jmp     *%eax

        .balign 8
table:                                  /* accessed bits are set: the table lies in ROM */
        .quad   0, 0
        .quad   0x00cf9b000000ffff      /* CODE: 4 GiB, 32 bits, execute and read */
        .quad   0x00cf93000000ffff      /* DATA: 4 GiB, 32 bits, read and write */
table_pointer:
        .word   table_pointer - table - 1
        .long   ROM + table - start

        .org    0xfff0
        .code16
        jmp     start
        .org    0x10000
