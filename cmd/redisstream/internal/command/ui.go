package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/millrace/redisstream/adminui"
	"github.com/spf13/cobra"
)

// page's time-outs: the handler bounds its own work.
const (
	readHeaderTimeout = 5 * time.Second
	idleTimeout       = 2 * time.Minute
	shutdownTimeout   = 3 * time.Second
)

func (a *app) ui() *cobra.Command {
	var listen, title string
	var actions bool
	cmd := &cobra.Command{
		Use:   "ui",
		Short: "Serve a web page that shows the same, until SIGINT",
		Long: `Serve a web page that shows the same, until SIGINT. It is read-only without --actions.

It knows no users: who reaches its address may do all that it does. On this machine that is everyone who
is logged in; package adminui has a hook for an authentication of your own.`,
		Example: "  redisstream ui --listen 127.0.0.1:8080",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(s *server) error {
				handler, err := adminui.New(adminui.Config{Admin: s.Admin, Actions: actions, Title: title})
				if err != nil {
					return err
				}
				defer handler.Close() //nolint:errcheck // it returns nil
				return a.serve(cmd.Context(), listen, handler)
			})
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8080", "`ADDRESS` of the page; port 0: a free one")
	cmd.Flags().StringVar(&title, "title", "", "heading of all pages (default \"redisstream\")")
	cmd.Flags().BoolVar(&actions, "actions", false, "let pages replay, retry, drop, skip, pause and resume")
	return cmd
}

// serve serves the pages until ctx ends.
func (a *app) serve(ctx context.Context, address string, handler http.Handler) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	if ip, ok := listener.Addr().(*net.TCPAddr); ok && ip.IP.IsLoopback() {
		handler = onlyLocal(handler)
	}
	web := &http.Server{Handler: handler, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout}
	failed := make(chan error, 1)
	go func() { failed <- web.Serve(listener) }()
	if err := a.write(map[string]string{"url": "http://" + listener.Addr().String() + "/"}, "Serving http://"+listener.Addr().String()+"/"); err != nil {
		return errors.Join(err, web.Close())
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if web.Shutdown(stopping) != nil {
		_ = web.Close() // a page takes long
	}
	return nil
}

// onlyLocal refuses requests whose Host is not of this machine: a foreign page can make its own name
// lead to 127.0.0.1.
func onlyLocal(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		ip := net.ParseIP(strings.Trim(host, "[]"))
		if host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			http.Error(w, "this page is served to this machine only; its address is 127.0.0.1 or localhost", http.StatusForbidden)
			return
		}
		handler.ServeHTTP(w, r)
	})
}
