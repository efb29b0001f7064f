#include "ctl/prompt.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/memory.h"

#define PASSWORD_MAX 1024

/* Keys up to Enter. With ISIG off Ctrl-C is a byte like others, so the terminal is never left without echo. */
static int read_password(int tty, char *buf, size_t size)
{
	size_t len = 0;
	for (;;) {
		char c;
		ssize_t n = read(tty, &c, 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || c == CTRL('C') || (c == CTRL('D') && len == 0))
			return -ECANCELED;
		if (c == '\n' || c == '\r') {
			buf[len] = '\0';
			return (int)len;
		}
		if (c == CTRL('U')) {
			len = 0;
		} else if (c == 0x7f || c == '\b') {
			while (len && ((unsigned char)buf[--len] & 0xc0) == 0x80)
				; /* a whole character of UTF-8 */
		} else if (len + 1 < size) {
			buf[len++] = c;
		} else {
			return -ENAMETOOLONG;
		}
	}
}

static int make_memfd(const char *bytes, size_t len, struct fault *fault)
{
	int fd = memfd_create("passwords", MFD_CLOEXEC);
	if (fd < 0)
		return fault_errno(fault, errno, "can't keep the password in memory");
	if (write(fd, bytes, len) != (ssize_t)len || lseek(fd, 0, SEEK_SET) < 0) {
		int error = errno;
		close(fd);
		return fault_errno(fault, error, "can't keep the password in memory");
	}
	return fd;
}

int prompt_password(const char *question, struct fault *fault)
{
	char password[PASSWORD_MAX + 1];
	struct termios before, quiet;
	AUTO_CLOSE int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (tty < 0 || tcgetattr(tty, &before) < 0)
		return fault_errno(fault, errno, "there is no terminal to ask for a password; use --password-file");
	sigset_t ending, old;
	sigemptyset(&ending);
	sigaddset(&ending, SIGTERM); /* comes after the echo is back */
	sigaddset(&ending, SIGTSTP);
	sigprocmask(SIG_BLOCK, &ending, &old);
	quiet = before;
	quiet.c_lflag &= ~(tcflag_t)(ECHO | ICANON | ISIG);
	quiet.c_cc[VMIN] = 1;
	quiet.c_cc[VTIME] = 0;
	tcsetattr(tty, TCSAFLUSH, &quiet);
	dprintf(tty, "%s", question);
	int len = read_password(tty, password, sizeof password - 1);
	dprintf(tty, "\n");
	tcsetattr(tty, TCSAFLUSH, &before);
	sigprocmask(SIG_SETMASK, &old, NULL);
	int r = len;
	if (len >= 0) {
		password[len] = '\n';
		r = make_memfd(password, (size_t)len + 1, fault);
	} else {
		fault_set(fault, len, len == -ECANCELED ? "no password was given" : "the password is too long");
	}
	explicit_bzero(password, sizeof password);
	return r;
}

/* Standard input to its end. */
static int take_input(struct fault *fault)
{
	char *bytes = xmalloc(PROMPT_PASSWORDS_MAX + 1);
	size_t len = 0;
	ssize_t n = 1;
	while (n > 0 && len <= PROMPT_PASSWORDS_MAX) {
		n = read(STDIN_FILENO, bytes + len, PROMPT_PASSWORDS_MAX + 1 - len);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n > 0)
			len += (size_t)n;
	}
	int r = n < 0   ? fault_errno(fault, errno, "can't read passwords from standard input")
		: n > 0 ? fault_set(fault, -EFBIG, "standard input holds more than %d bytes of passwords",
				    PROMPT_PASSWORDS_MAX)
			: make_memfd(bytes, len, fault);
	free_secret(bytes, PROMPT_PASSWORDS_MAX + 1);
	return r;
}

int prompt_open_passwords(struct ctl *ctl, const char *path, struct fault *fault)
{
	if (strcmp(path, "-") == 0)
		return isatty(STDIN_FILENO) ? prompt_password("Password: ", fault) : take_input(fault);
	struct stat st;
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return fault_errno(fault, errno, "can't open the password file %s", path);
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= PROMPT_PASSWORDS_MAX) {
		if (st.st_mode & 077 && ctl->verbose)
			ctl_say(ctl, "others may read the password file %s: chmod 600", path);
		return fd;
	}
	close(fd);
	return fault_set(fault, -EINVAL, "the password file %s is not a regular file of at most %d bytes", path,
			 PROMPT_PASSWORDS_MAX);
}
