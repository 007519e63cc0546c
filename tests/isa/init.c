/* The first process of the guest: runs /test with the arguments of /arguments and says how it ended.
 *
 * Comes in: /test, a static program; /arguments, its arguments, each ended by a NUL.
 * Goes out: what the program prints, on the console; then one line `recmesh-isa: exit N` or `recmesh-isa: signal N`.
 * It never returns: the machine restarts, which ends the emulator. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static char text[65536];
static char *arguments[4096];

static int run(void)
{
    FILE *file = fopen("/arguments", "rb");
    if (!file)
        return 127;
    size_t held = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    size_t count = 0;
    arguments[count++] = "/test";
    for (size_t at = 0; at < held && count + 1 < sizeof arguments / sizeof *arguments; count++) {
        arguments[count] = text + at;
        while (text[at++]) {
        }
    }
    char *environment[] = {"HOME=/tmp", "TMPDIR=/tmp", "PATH=/", "RUST_BACKTRACE=0", NULL};
    execve("/test", arguments, environment);
    perror("/test");
    return 127;
}

int main(void)
{
    /* Programs that ask for their own path or the number of CPUs look here; none need it to exist. */
    mount("proc", "/proc", "proc", 0, NULL);
    pid_t child = fork();
    if (child == 0)
        _exit(run());
    int status = 127 << 8;
    while (child > 0 && waitpid(-1, &status, 0) != child) {
    }
    if (WIFSIGNALED(status))
        printf("\nrecmesh-isa: signal %d\n", WTERMSIG(status));
    else
        printf("\nrecmesh-isa: exit %d\n", WEXITSTATUS(status));
    fflush(stdout);
    tcdrain(1);
    reboot(RB_AUTOBOOT);
    for (;;)
        pause();
}
