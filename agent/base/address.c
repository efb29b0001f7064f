#include "base/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static bool same_prefix(const uint8_t *a, const uint8_t *b, unsigned int bits)
{
	unsigned int whole = bits / 8, rest = bits % 8;
	if (memcmp(a, b, whole) != 0)
		return false;
	return !rest || ((a[whole] ^ b[whole]) & (uint8_t)(0xff << (8 - rest))) == 0;
}

static bool parse_bits(const char *text, unsigned int most, unsigned int *ret)
{
	char *end;
	if (*text < '0' || *text > '9')
		return false;
	unsigned long bits = strtoul(text, &end, 10);
	*ret = (unsigned int)bits;
	return !*end && bits <= most;
}

int address_range_parse(const char *text, struct address_range *ret)
{
	char address[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	*ret = (struct address_range){0};
	if (len >= sizeof address)
		return -EINVAL;
	memcpy(address, text, len);
	address[len] = '\0';
	ret->v6 = strchr(address, ':') != NULL;
	if (inet_pton(ret->v6 ? AF_INET6 : AF_INET, address, ret->bytes) != 1)
		return -EINVAL;
	unsigned int most = ret->v6 ? 128 : 32;
	ret->bits = most;
	if (slash && !parse_bits(slash + 1, most, &ret->bits))
		return -EINVAL;
	uint8_t zero[16] = {0};
	memcpy(zero, ret->bytes, ret->bits / 8);
	if (ret->bits % 8)
		zero[ret->bits / 8] = ret->bytes[ret->bits / 8] & (uint8_t)(0xff << (8 - ret->bits % 8));
	return memcmp(zero, ret->bytes, sizeof zero) == 0 ? 0 : -EINVAL;
}

bool address_range_has(const struct address_range *range, const struct sockaddr *address)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	static const uint8_t translated[12] = {0x00, 0x64, 0xff, 0x9b};
	if (address->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;
		return !range->v6 && same_prefix((const uint8_t *)&in->sin_addr, range->bytes, range->bits);
	}
	if (address->sa_family != AF_INET6)
		return false;
	const uint8_t *b = ((const struct sockaddr_in6 *)(const void *)address)->sin6_addr.s6_addr;
	bool v4 = memcmp(b, mapped, sizeof mapped) == 0 || memcmp(b, translated, sizeof translated) == 0;
	if (v4 && !range->v6 && same_prefix(b + 12, range->bytes, range->bits))
		return true;
	return range->v6 && same_prefix(b, range->bytes, range->bits);
}

static void add_address(const struct sockaddr *address, struct words *ret)
{
	char text[INET6_ADDRSTRLEN];
	struct sockaddr_in four;
	struct sockaddr_in6 six;
	if (address && address->sa_family == AF_INET) {
		memcpy(&four, address, sizeof four);
		if ((ntohl(four.sin_addr.s_addr) >> 24) != 127)
			words_add(ret, inet_ntop(AF_INET, &four.sin_addr, text, sizeof text));
	} else if (address && address->sa_family == AF_INET6) {
		memcpy(&six, address, sizeof six);
		if (!IN6_IS_ADDR_LOOPBACK(&six.sin6_addr) && !IN6_IS_ADDR_LINKLOCAL(&six.sin6_addr))
			words_add(ret, inet_ntop(AF_INET6, &six.sin6_addr, text, sizeof text));
	}
}

void address_list(struct words *ret)
{
	struct ifaddrs *all = NULL;
	if (getifaddrs(&all) < 0)
		return;
	for (const struct ifaddrs *i = all; i && ret->n < ADDRESS_LIST_MAX; i = i->ifa_next)
		add_address(i->ifa_addr, ret);
	freeifaddrs(all);
}

bool address_is_loopback(const char *endpoint)
{
	return strncmp(endpoint, "127.", 4) == 0 || strncmp(endpoint, "[::1]", 5) == 0;
}
