"""What the emulated machine starts from: a kernel, a file system in memory, and the RAM they lie in at reset.

Comes in: the cache folder, a static program and its arguments. Goes out: files that Bochs loads as ROM and RAM.

    Debian's kernel package ---> bzImage -+-> boot parameters, command line   RAM at PARAMETERS
                                          +-> protected-mode part             RAM at KERNEL
    init.c + program + arguments ----------> cpio archive                     RAM at ARCHIVE
    boot.S --------------------------------> ROM that jumps to the kernel     0xffff0000

There is no BIOS, no boot loader and no disk: nothing of them would be tested, and each costs emulated seconds. Nothing
is installed: the package is unpacked into the cache.
"""

import pathlib
import shutil
import struct
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
# The cloud flavour of Debian's kernel: the same AMX code, fewer drivers to start. AMX needs 5.16; bookworm has 6.1.
PACKAGE = "linux-image-cloud-amd64"
# Emulated instructions per emulated second: what timers and the serial line are measured by, not a speed.
RATE = 50_000_000
MEBIBYTE = 1 << 20
MEMORY = 512 * MEBIBYTE
PARAMETERS, COMMAND_LINE, KERNEL, ARCHIVE = 0x10000, 0x11000, 0x100000, 128 * MEBIBYTE

# One CPU without interrupt controllers, buses or tables to look for; the timer is the PIT, the clock counts
# instructions. Mitigations cost time, address randomisation makes runs differ. 580 is the feature FSRM: the firmware
# left fast strings off, and this kernel's memmove breaks where it finds the one without the other.
COMMAND = (
    "rdinit=/init console=ttyS0 panic=-1 reboot=t nosmp noapic nolapic acpi=off pci=off nokaslr mitigations=off "
    "tsc=reliable tsc_early_khz={khz} no_timer_check random.trust_cpu=on clearcpuid=580 nomodule "
    "cryptomgr.notests i8042.noaux i8042.nokbd i8042.nopnp audit=0 apparmor=0"
)


class Trouble(Exception):
    """What stops the rig, in words for the person who runs it."""


def command(*words, **how):
    """Runs a program and gives what it printed."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, **how)
    if done.returncode:
        raise Trouble(f"{' '.join(map(str, words))} failed:\n{(done.stdout + done.stderr).strip()[-4000:]}")
    return done.stdout


def kernel(cache):
    """The kernel image of Debian's package, fetched once; apt checks its signature."""
    folder = cache / "kernel"
    found = sorted(folder.glob("boot/vmlinuz-*"))
    if not found:
        missing = [name for name in ("apt-get", "apt-cache", "dpkg-deb") if not shutil.which(name)]
        if missing:
            raise Trouble(f"{', '.join(missing)} not found: the kernel is one of Debian's packages")
        said = command("apt-cache", "depends", PACKAGE).splitlines()
        names = [line.split()[1] for line in said if "Depends:" in line]
        if len(names) != 1:
            raise Trouble(f"apt-cache knows no {PACKAGE}: `apt-get update` first")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        command("apt-get", "download", names[0], cwd=folder)
        command("dpkg-deb", "-x", next(folder.glob("*.deb")), folder)
        found = sorted(folder.glob("boot/vmlinuz-*"))
    return found[0]


def entry(inode, name, mode, data=b"", device=(0, 0)):
    """One member of a cpio archive in the `newc` format, which the kernel unpacks."""
    name = name.encode() + b"\0"
    fields = [inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name), 0]
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def archive(folder, program, arguments):
    """The file system: /init, /test, /arguments and the folders and devices that they use."""
    init, test = folder / "init", folder / "test"
    command("gcc", "-O1", "-static", "-o", init, HERE / "init.c")
    command("strip", "-o", test, program)
    members = [(name, 0o040755, b"", (0, 0)) for name in ("dev", "proc", "root")] + [("tmp", 0o041777, b"", (0, 0))]
    members += [("dev/console", 0o020600, b"", (5, 1)), ("dev/null", 0o020666, b"", (1, 3))]
    members += [("dev/random", 0o020666, b"", (1, 8)), ("dev/urandom", 0o020666, b"", (1, 9))]
    members += [("init", 0o100755, init.read_bytes(), (0, 0)), ("test", 0o100755, test.read_bytes(), (0, 0))]
    members += [("arguments", 0o100644, b"".join(word.encode() + b"\0" for word in arguments), (0, 0))]
    parts = [entry(at + 1, name, mode, data, device) for at, (name, mode, data, device) in enumerate(members)]
    made = b"".join(parts) + entry(0, "TRAILER!!!", 0)
    if ARCHIVE + len(made) > MEMORY:
        raise Trouble(f"the program is too large for the guest's memory: {len(made)} bytes")
    return made


def parameters(image, archived, words):
    """The page of boot parameters and the command line behind it; Documentation/x86/boot.rst and zero-page.rst."""
    if image[0x202:0x206] != b"HdrS" or struct.unpack_from("<H", image, 0x206)[0] < 0x20C:
        raise Trouble("the kernel image is of an unknown boot protocol")
    page = bytearray(0x1000)
    end = 0x202 + image[0x201]
    page[0x1F1:end] = image[0x1F1:end]
    struct.pack_into("<H", page, 0x1FA, 0xFFFF)  # video mode: as it is
    page[0x210] = 0xFF  # a loader without a number
    page[0x211] |= 1  # the kernel lies high
    struct.pack_into("<IIH", page, 0x218, ARCHIVE, archived, 0)
    struct.pack_into("<I", page, 0x228, COMMAND_LINE)
    usable = [(0, 0x9FC00), (MEBIBYTE, MEMORY - MEBIBYTE)]
    page[0x1E8] = len(usable)
    for at, (start, size) in enumerate(usable):
        struct.pack_into("<QQI", page, 0x2D0 + 20 * at, start, size, 1)
    return bytes(page) + f"{COMMAND.format(khz=RATE // 1000)} {words}".encode() + b"\0"


def lay_out(cache, folder, program, arguments, words):
    """Writes the ROM and the RAM images into `folder`; gives the ROM and (file, address) of each RAM image.

    `words` are added to the kernel's command line.
    """
    image = kernel(cache).read_bytes()
    packed = archive(folder, program, arguments)
    ram = [
        (folder / "parameters.bin", PARAMETERS, parameters(image, len(packed), words)),
        (folder / "kernel.bin", KERNEL, image[(image[0x1F1] + 1) * 512 :]),
        (folder / "archive.cpio", ARCHIVE, packed),
    ]
    for path, _, data in ram:
        path.write_bytes(data)
    places = f"--defsym,PARAMETERS={PARAMETERS},--defsym,KERNEL={KERNEL}"
    command("gcc", "-c", f"-Wa,{places}", "-o", folder / "boot.o", HERE / "boot.S")
    command("objcopy", "-O", "binary", "-j", ".text", folder / "boot.o", folder / "rom.bin")
    # Bochs asks for a ROM of the screen as well; nothing here reads it.
    (folder / "vga.bin").write_bytes(b"\x55\xaa\x01".ljust(512, b"\0"))
    return folder / "rom.bin", [(path, address) for path, address, _ in ram]
