package main

import (
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
	"github.com/urfave/cli/v2"
)

// queryCommand asks one DNS question, for machines without dig.
func queryCommand() *cli.Command {
	return &cli.Command{
		Name:      "query",
		Usage:     "ask a nameserver one question, as dig does",
		ArgsUsage: "[@HOST[:PORT]] NAME [TYPE]",
		Description: `Without @HOST:PORT it asks 127.0.0.1:10053. Exit status 1 if no answer came.

Examples:
   eider query www.example.org
   eider query @127.0.0.1:10063 example.org MX
   eider query --tcp --dnssec @[::1]:10053 example.org SOA
   eider query --class CH id.server TXT`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "tcp", Usage: "ask over TCP (UDP answers that are truncated are asked again so anyway)"},
			&cli.BoolFlag{Name: "dnssec", Usage: "set the DO bit"},
			&cli.BoolFlag{Name: "short", Usage: "print the rdata of the answers alone"},
			&cli.StringFlag{Name: "class", Value: "IN", Usage: "class of the question: IN or CH"},
			&cli.DurationFlag{Name: "timeout", Value: 2 * time.Second, Usage: "how long to wait for the answer"},
		},
		Action: query,
	}
}

func query(c *cli.Context) error {
	server, m, err := parseQuery(c.Args().Slice(), c.String("class"))
	if err != nil {
		return err
	}
	if c.Bool("dnssec") {
		m.SetEdns0(1232, true)
	}
	client := dns.Client{Net: "udp", Timeout: c.Duration("timeout")}
	if c.Bool("tcp") {
		client.Net = "tcp"
	}
	r, took, err := client.Exchange(m, server)
	if err == nil && r.Truncated && client.Net == "udp" {
		client.Net = "tcp"
		r, took, err = client.Exchange(m, server)
	}
	if err != nil {
		return failed("query", fmt.Errorf("%s did not answer: %w", server, err))
	}
	if c.Bool("short") {
		for _, rr := range r.Answer {
			fmt.Fprintln(c.App.Writer, strings.TrimPrefix(rr.String(), rr.Header().String()))
		}
		return nil
	}
	fmt.Fprintf(c.App.Writer, "%v\n;; %s, %s, %v, %d octets\n", r, server, client.Net, took.Round(time.Microsecond), r.Len())
	return nil
}

// parseQuery reads dig's order of arguments: @server, name, type.
func parseQuery(args []string, class string) (server string, m *dns.Msg, err error) {
	server = "127.0.0.1:10053"
	rest := args[:0:0]
	for _, a := range args {
		if s, ok := strings.CutPrefix(a, "@"); ok {
			if _, _, err := net.SplitHostPort(s); err != nil {
				s = net.JoinHostPort(strings.Trim(s, "[]"), "53")
			}
			server = s
			continue
		}
		rest = append(rest, a)
	}
	if len(rest) == 0 || len(rest) > 2 {
		return "", nil, misused("query", fmt.Errorf("it takes a name and a type; for example: eider query @127.0.0.1:10053 www.example.org A"))
	}
	qtype := dns.TypeA
	if len(rest) == 2 {
		if t, ok := dns.StringToType[strings.ToUpper(rest[1])]; ok {
			qtype = t
		} else if _, err := fmt.Sscanf(strings.ToUpper(rest[1]), "TYPE%d", &qtype); err != nil {
			return "", nil, misused("query", fmt.Errorf("%q is no RR type; for example A, MX or TYPE65534", rest[1]))
		}
	}
	if _, ok := dns.IsDomainName(rest[0]); !ok {
		return "", nil, misused("query", fmt.Errorf("%q is no domain name", rest[0]))
	}
	m = new(dns.Msg)
	m.SetQuestion(dns.Fqdn(rest[0]), qtype)
	m.RecursionDesired = false
	qclass, ok := dns.StringToClass[strings.ToUpper(class)]
	if !ok {
		return "", nil, misused("query", fmt.Errorf("%q is no class; for example IN or CH", class))
	}
	m.Question[0].Qclass = qclass
	return server, m, nil
}
