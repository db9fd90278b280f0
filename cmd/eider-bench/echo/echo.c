/* The floor: UDP in and out again by recvmmsg and sendmmsg, no DNS at all. The
 * QR bit is set so that dnsperf takes what comes back for an answer. Usage: echo PORT */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 32, SIZE = 4096 }; /* as eider's UDP workers have them */

static struct mmsghdr msg[BATCH];
static struct iovec vec[BATCH];
static struct sockaddr_in from[BATCH];
static unsigned char packet[BATCH][SIZE];

int main(int argc, char **argv) {
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(argc > 1 ? atoi(argv[1]) : 0)};
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) != 0) {
		perror("echo");
		return 1;
	}
	for (int i = 0; i < BATCH; i++) {
		vec[i].iov_base = packet[i];
		msg[i].msg_hdr.msg_name = &from[i];
		msg[i].msg_hdr.msg_iov = &vec[i];
		msg[i].msg_hdr.msg_iovlen = 1;
	}
	for (;;) {
		for (int i = 0; i < BATCH; i++) {
			vec[i].iov_len = SIZE;
			msg[i].msg_hdr.msg_namelen = sizeof from[i];
		}
		int n = recvmmsg(fd, msg, BATCH, MSG_WAITFORONE, NULL);
		for (int i = 0; i < n; i++) {
			vec[i].iov_len = msg[i].msg_len;
			packet[i][2] |= 0x80;
		}
		for (int sent = 0; sent < n;) {
			int k = sendmmsg(fd, msg + sent, n - sent, 0);
			sent += k > 0 ? k : 1;
		}
	}
}
