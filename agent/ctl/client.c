#include "ctl/client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "ctl/print.h"

static int explain_connect(int error, const char *path, struct fault *fault)
{
	if (error == EACCES || error == EPERM) {
		fault_set(fault, -error, "not permitted to open %s: be root, or in the group that may look", path);
		return CTL_NOT_PERMITTED;
	}
	const char *why = error == ENOENT         ? "there is no"
			  : error == ECONNREFUSED ? "nobody answers at"
						  : strerror(error);
	fault_set(fault, -error, "can't reach the agent (%s %s); is certswapd running? systemctl status certswapd", why,
		  path);
	return CTL_UNREACHABLE;
}

/* Connects; a path too long for sockaddr_un goes by way of its folder's descriptor. */
static int open_socket(const char *path, struct fault *fault, int *ret_status)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	AUTO_CLOSE int folder = -1;
	AUTO_FREE char *copy = xstrdup(path);
	char *slash = strrchr(copy, '/');
	if (strlen(path) < sizeof address.sun_path) {
		strcpy(address.sun_path, path);
	} else if (slash) {
		*slash = '\0';
		folder = open(copy, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (folder < 0) {
			*ret_status = explain_connect(errno, path, fault);
			return -1;
		}
		snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%.64s", folder, slash + 1);
	}
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
		return fd;
	*ret_status = explain_connect(errno, path, fault);
	if (fd >= 0)
		close(fd);
	return -1;
}

/* The descriptors go with the first byte. 0 or negative errno. */
static int send_request(int fd, const char *line, size_t len, const int *fds, size_t nfds)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * CLIENT_FDS_MAX)];
	} control = {0};
	while (len) {
		struct iovec part = {.iov_len = len};
		memcpy(&part.iov_base, &line, sizeof line); /* sendmsg does not write there */
		struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
		if (nfds) {
			m.msg_control = control.space;
			m.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
			struct cmsghdr *c = CMSG_FIRSTHDR(&m);
			c->cmsg_level = SOL_SOCKET;
			c->cmsg_type = SCM_RIGHTS;
			c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
			memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
		}
		ssize_t n = sendmsg(fd, &m, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		nfds = 0;
		line += n;
		len -= (size_t)n;
	}
	return 0;
}

/* One line into `in`, of which *used bytes belong to lines before. NULL with errno: 0 closed, ETIMEDOUT, other. */
static char *read_line(int fd, struct text *in, size_t *used, int64_t deadline_us)
{
	size_t looked = *used;
	for (;;) {
		char *end = in->len > looked ? memchr(in->s + looked, '\n', in->len - looked) : NULL;
		if (end) {
			char *line = in->s + *used;
			*end = '\0';
			*used = (size_t)(end - in->s) + 1;
			return line;
		}
		looked = in->len;
		char chunk[65536];
		int64_t left_ms = (deadline_us - clock_monotonic_us()) / 1000;
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int ready = left_ms > 0 ? poll(&p, 1, left_ms > 3600000 ? 3600000 : (int)left_ms) : 0;
		ssize_t n = ready > 0 ? recv(fd, chunk, sizeof chunk, 0) : -1;
		if (ready == 0 && left_ms <= 0)
			errno = ETIMEDOUT;
		else if (ready > 0 && n == 0)
			errno = 0;
		else if (ready > 0 && n > 0 && in->len + (size_t)n > CLIENT_ANSWER_MAX)
			errno = EMSGSIZE;
		else if (ready > 0 && n > 0) {
			text_add_bytes(in, chunk, (size_t)n);
			continue;
		} else if (ready == 0 || errno == EINTR)
			continue;
		return NULL;
	}
}

static int no_answer(int error, struct fault *fault)
{
	if (error == 0 || error == ECONNRESET || error == EPIPE)
		fault_set(fault, -EPIPE,
			  "the agent closed the connection before it answered: journalctl -u certswapd says why");
	else if (error == ETIMEDOUT)
		fault_set(fault, -ETIMEDOUT,
			  "the agent did not answer in time: journalctl -u certswapd, systemctl status certswapd");
	else
		fault_errno(fault, error, "can't read the agent's answer");
	return CTL_UNREACHABLE;
}

/* Reads up to the final line. */
static int receive_answer(struct ctl *ctl, int fd, int64_t deadline_us, json_t **ret_answer, struct fault *fault)
{
	struct text in = {0};
	size_t used = 0;
	bool shown = false;
	int status = CTL_DONE;
	while (!*ret_answer) {
		char *line = read_line(fd, &in, &used, deadline_us);
		if (!line) {
			status = no_answer(errno, fault);
			break;
		}
		json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
		const char *progress = json_string_value(json_object_get(object, "progress"));
		if (json_is_integer(json_object_get(object, "exit"))) {
			*ret_answer = object;
			break;
		}
		if (progress && ctl->progress) {
			progress_show(ctl->err, progress);
			shown = true;
		}
		json_decref(object);
		if (!progress) {
			fault_set(fault, -EBADMSG,
				  "the agent's answer can't be understood; are certswapd and certswapctl of the same "
				  "version?");
			status = CTL_FAILED;
			break;
		}
		memmove(in.s, in.s + used, in.len - used + 1); /* progress lines are short */
		in.len -= used;
		used = 0;
	}
	if (shown)
		progress_clear(ctl->err);
	text_done(&in);
	return status;
}

int client_call(struct ctl *ctl, const char *socket_path, const json_t *request, const int *fds, size_t nfds,
		int64_t patience_ms, json_t **ret_answer, struct fault *fault)
{
	int status = CTL_DONE;
	*ret_answer = NULL;
	AUTO_FREE char *line = json_dumps(request, JSON_COMPACT);
	size_t len = line ? strlen(line) : 0;
	if (!line || len + 1 > CLIENT_REQUEST_MAX || nfds > CLIENT_FDS_MAX) {
		fault_set(fault, -EMSGSIZE, "that is too much for one request");
		return CTL_FAILED;
	}
	line[len] = '\n'; /* in the place of the NUL: sent by length */
	AUTO_CLOSE int fd = open_socket(socket_path, fault, &status);
	if (fd < 0)
		return status;
	int r = send_request(fd, line, len + 1, fds, nfds);
	if (r < 0 && r != -EPIPE && r != -ECONNRESET) { /* after a hang-up the answer may still be there */
		fault_errno(fault, r, "can't send the request to the agent");
		return CTL_FAILED;
	}
	return receive_answer(ctl, fd, clock_monotonic_us() + patience_ms * 1000, ret_answer, fault);
}

/* The agent bounds its own waiting by timeout_ms; this bounds ours should it hang. */
static int64_t patience_for(const json_t *request)
{
	json_int_t timeout = json_integer_value(json_object_get(request, "timeout_ms"));
	return (json_is_true(json_object_get(request, "wait")) ? timeout : 0) + CLIENT_PATIENCE_MS;
}

static bool confirm(struct ctl *ctl, const char *question)
{
	char answer[64] = "";
	print_text(ctl->err, "", question);
	fputs("Go on? [y/N] ", ctl->err);
	fflush(ctl->err);
	return fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

int client_ask(struct ctl *ctl, const struct args *a, json_t *request, const int *fds, size_t nfds, json_t **ret_answer)
{
	struct fault fault = {0};
	int status;
	*ret_answer = NULL;
	AUTO_FREE char *path = ctl_run_path(ctl, "control.sock", &status);
	if (!path)
		return status;
	if (args_has(a, OPTION_YES))
		json_object_set_new(request, "yes", json_true());
	for (;;) {
		status = client_call(ctl, path, request, fds, nfds, patience_for(request), ret_answer, &fault);
		if (status != CTL_DONE) {
			ctl_say(ctl, "%s", fault.text);
			return status;
		}
		const char *question = json_string_value(json_object_get(*ret_answer, "ask"));
		if (!question || json_is_true(json_object_get(request, "yes")))
			return CTL_DONE;
		if (!ctl->interactive) {
			print_text(ctl->err, "", question);
			ctl_say(ctl, "nothing was done; --yes says yes to this");
		} else if (confirm(ctl, question)) {
			json_object_set_new(request, "yes", json_true());
			json_decref(*ret_answer);
			continue;
		} else {
			ctl_say(ctl, "nothing was done");
		}
		json_decref(*ret_answer);
		*ret_answer = NULL;
		return CTL_FAILED;
	}
}

/* The result; where a command has none, what the agent said. */
static void print_result(struct ctl *ctl, const json_t *answer)
{
	json_t *result = json_object_get(answer, "result");
	json_t *said = result ? json_incref(result)
			      : json_pack("{sO, sO*, sO*}", "exit", json_object_get(answer, "exit"), "message",
					  json_object_get(answer, "message"), "next", json_object_get(answer, "next"));
	print_json(ctl->out, said);
	json_decref(said);
}

int client_print_answer(struct ctl *ctl, const struct args *a, const json_t *answer)
{
	json_int_t status = json_integer_value(json_object_get(answer, "exit"));
	const char *message = json_string_value(json_object_get(answer, "message"));
	const char *next = json_string_value(json_object_get(answer, "next"));
	bool json = args_has(a, OPTION_JSON);
	FILE *to = status != CTL_DONE ? ctl->err : ctl->out;
	if (json)
		print_result(ctl, answer);
	if (message && *message && (!json || status != CTL_DONE))
		print_text(to, status != CTL_DONE ? "certswapctl: " : "", message);
	if (next && *next && (!json || status != CTL_DONE))
		print_text(to, "Next: ", next);
	return status >= CTL_DONE && status <= CTL_NOT_PERMITTED ? (int)status : CTL_FAILED;
}

int client_run(struct ctl *ctl, const struct args *a, json_t *request, const int *fds, size_t nfds)
{
	json_t *answer = NULL;
	int status = client_ask(ctl, a, request, fds, nfds, &answer);
	if (answer)
		status = client_print_answer(ctl, a, answer);
	json_decref(answer);
	json_decref(request);
	return status;
}

json_t *client_string(const char *s)
{
	json_t *value = json_string(s);
	if (value)
		return value;
	AUTO_FREE char *copy = xstrdup(s);
	for (char *p = copy; *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	return json_string(copy);
}

int client_add_wait(struct ctl *ctl, const struct args *a, json_t *request)
{
	int64_t ms = CLIENT_WAIT_MS;
	const char *timeout = args_value(a, OPTION_TIMEOUT);
	if (timeout && args_has(a, OPTION_NO_WAIT))
		return ctl_usage(ctl, "--no-wait and --timeout exclude each other");
	if (timeout && text_to_ms(timeout, &ms) < 0)
		return ctl_usage(ctl, "--timeout %s is not a time: 30s, 5m, 2h", timeout);
	json_object_set_new(request, "wait", json_boolean(!args_has(a, OPTION_NO_WAIT)));
	json_object_set_new(request, "timeout_ms", json_integer(ms));
	return CTL_DONE;
}
