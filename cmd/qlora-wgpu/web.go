package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"runtime"

	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/web"
)

type webCommand struct {
	Addr string `name:"addr" default:"127.0.0.1:8080" help:"Address to serve on. Browsers offer WebGPU on 127.0.0.1 and localhost, elsewhere only over HTTPS." placeholder:"HOST:PORT"`
	Open bool   `name:"open" help:"Open the page in the browser."`
}

// Run serves the page until it is interrupted.
func (w *webCommand) Run(c *console) error {
	handler, err := web.Handler()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", w.Addr)
	if err != nil {
		return usererr.New("serve the page", w.Addr, "%w", err).Hinted("choose another address with --addr, for example 127.0.0.1:8081")
	}
	address := "http://" + listener.Addr().String()
	fmt.Fprintf(c.stdout, "The page is at %s. Ctrl-C ends.\n", address)
	if w.Open {
		if err := openBrowser(c.context, address); err != nil {
			c.warn("no browser could be started: " + err.Error())
		}
	}
	server := web.Server(web.Only(handler, w.Addr, listener.Addr()))
	stop := context.AfterFunc(c.context, func() { server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the page: %w", err)
	}
	return nil
}

// openBrowser starts whatever opens addresses on this system, and does not wait for it.
func openBrowser(ctx context.Context, address string) error {
	command := map[string][]string{"darwin": {"open"}, "windows": {"rundll32", "url.dll,FileProtocolHandler"}}[runtime.GOOS]
	if command == nil {
		command = []string{"xdg-open"}
	}
	opener := exec.CommandContext(ctx, command[0], append(command[1:], address)...)
	if err := opener.Start(); err != nil {
		return err
	}
	go opener.Wait()
	return nil
}
