package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// life is one process of a worker, from its start to its end.
type life struct {
	name    string
	journal string
	killed  int64  // when it was about to be killed; 0: it was not
	failure string // how it ended unexpectedly; empty: it did not
}

// worker is a process that is restarted after its end.
type worker struct {
	name   string
	dir    string
	config workerConfig

	mu      sync.Mutex
	lives   []*life
	current *process
	revive  context.Context //nolint:containedctx // until it ends, a process that exits by itself is restarted
	retired bool
}

// process is the running process of a worker.
type process struct {
	life     *life
	command  *exec.Cmd
	lifeline io.WriteCloser // while it is open, the process lives; it takes commands
	ended    chan struct{}
	expected bool // its end is expected; guarded by worker.mu
}

// exitTimeout is how long a worker may take to close, whatever the server's state.
const exitTimeout = 15 * time.Second

func (w *worker) start() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.current != nil {
		return nil
	}
	return w.launch()
}

// launch starts a process. The caller holds mu.
func (w *worker) launch() error {
	l := &life{name: fmt.Sprintf("%s.%d", w.name, len(w.lives)+1)}
	l.journal = filepath.Join(w.dir, l.name+".journal")
	config := w.config
	config.Journal = l.journal
	text, err := json.Marshal(config)
	if err != nil {
		return err
	}
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(w.dir, l.name+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	command := exec.Command(binary)
	command.Env = append(os.Environ(), workerVariable+"="+string(text))
	command.Stdout, command.Stderr = log, log
	lifeline, err := command.StdinPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	p := &process{life: l, command: command, lifeline: lifeline, ended: make(chan struct{})}
	w.lives, w.current = append(w.lives, l), p
	go w.await(p)
	return nil
}

// await waits for the end of a process and records it.
func (w *worker) await(p *process) {
	err := p.command.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !p.expected {
		p.life.killed = time.Now().UnixNano()
		p.life.failure = fmt.Sprintf("%s ended by itself: %v", p.life.name, err)
	}
	w.current = nil
	close(p.ended)
	if !p.expected && w.revive != nil && w.revive.Err() == nil && !w.retired {
		if err := w.launch(); err != nil {
			p.life.failure += fmt.Sprintf("; it can't be restarted: %v", err)
		}
	}
}

// reviveFrom restarts the process whenever it ends by itself, until ctx ends or the worker retires.
func (w *worker) reviveFrom(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.revive = ctx
}

// retire prevents further restarts.
func (w *worker) retire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.retired = true
}

// signal sends a signal to the process and returns the process; nil: there is none. ends tells that
// the signal may end it.
func (w *worker) signal(sig syscall.Signal, ends bool) *process {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.current
	if p == nil {
		return nil
	}
	if sig == syscall.SIGKILL {
		p.life.killed = time.Now().UnixNano()
	}
	p.expected = p.expected || ends
	_ = p.command.Process.Signal(sig) // the process may have ended
	return p
}

// kill ends the process as a crash does.
func (w *worker) kill() {
	if p := w.signal(syscall.SIGKILL, true); p != nil {
		<-p.ended
	}
}

var errStuck = errors.New("did not end in time after SIGTERM; its log has its goroutines")

// terminate asks the process to close, and waits for its end.
func (w *worker) terminate() error {
	p := w.signal(syscall.SIGTERM, true)
	if p == nil {
		return nil
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(exitTimeout):
	}
	w.mu.Lock()
	p.life.failure = fmt.Sprintf("%s %v", p.life.name, errStuck)
	w.mu.Unlock()
	w.signal(syscall.SIGQUIT, true)
	select {
	case <-p.ended:
	case <-time.After(time.Second):
		w.kill()
	}
	return errStuck
}

func (w *worker) stop()   { w.signal(syscall.SIGSTOP, false) }
func (w *worker) resume() { w.signal(syscall.SIGCONT, false) }
