package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/eider-dns/eider/cluster/admin"
)

const prompt = "eider> "

func consoleCommand() *cli.Command {
	return &cli.Command{
		Name:  "console",
		Usage: "type ADD and REMOVE lines at a running node",
		Description: example("It reads lines from standard input and writes one answer line to each. Piped lines are read ahead and\nanswered in order. HELP lists what can be typed. Status 1: an answer was REFUSED, ERROR or UNAVAILABLE.",
			"eider console",
			`echo "ADD: www.example.com A 192.0.2.1" | eider console`,
			"eider console -c cluster-config.json -n 2 < changes.txt"),
		Flags:  reachFlags(),
		Action: withNode(runConsole),
	}
}

func runConsole(ctx context.Context, c *cli.Context, node *admin.Client) error {
	conn, err := node.Lines(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	typed := isTerminal(c.App.Reader)
	if typed {
		fmt.Fprintf(c.App.ErrWriter, "Connected to %s. HELP lists what can be typed, Ctrl-D ends.\n%s", node.Addr(), prompt)
	}
	sent := make(chan error, 1)
	go func() { // it may stay in Read of a terminal until the process ends
		_, err := io.Copy(conn, c.App.Reader)
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			err = errors.Join(err, half.CloseWrite())
		}
		sent <- err
	}()
	good := true
	answers := bufio.NewReader(conn)
	for {
		text, err := answers.ReadString('\n')
		if text != "" {
			fmt.Fprint(c.App.Writer, text)
			good = good && !failedAnswer(parseAnswer(text).Status)
			if typed {
				fmt.Fprint(c.App.ErrWriter, prompt)
			}
		}
		if err == nil {
			continue
		}
		if typed {
			fmt.Fprintln(c.App.ErrWriter)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed):
			return fmt.Errorf("the connection broke off: %w", err)
		case !good:
			return quietError{}
		}
		select {
		case err := <-sent:
			if err != nil {
				return fmt.Errorf("not all lines were sent: %w", err)
			}
		default: // the node ended it, after QUIT
		}
		return nil
	}
}

func failedAnswer(status string) bool {
	return status == "REFUSED" || status == "ERROR" || status == "UNAVAILABLE"
}

// isTerminal tells whether lines are typed by a person.
func isTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && info.Mode()&os.ModeDevice != 0
}
