package lab

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is a server that the test started, with its children in a process
// group of its own.
type process struct {
	program string
	log     string // path of its log
	cmd     *exec.Cmd
	listens []listener
	ended   chan struct{} // closed when it has ended
}

// start runs a server in the foreground and waits until ready gives no error.
// The server's own output goes to the log.
func start(program, log string, args []string, listens []listener, ready func() error) (*process, error) {
	f, err := os.OpenFile(log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{program: program, log: log, cmd: cmd, listens: listens, ended: make(chan struct{})}
	go func() {
		cmd.Wait()
		close(p.ended)
	}()
	err = poll(startTimeout, func() error {
		select {
		case <-p.ended:
			return errEnded
		default:
			return ready()
		}
	})
	if err != nil {
		p.kill()
		return nil, fmt.Errorf("%s does not come up: %w", program, err)
	}
	return p, nil
}

// Reasons to wait.
var (
	errEnded = errors.New("it ended at once")
	errAlive = errors.New("it has not ended")
)

// stop asks the server to end and waits; kill does not ask.
func (p *process) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(stopTimeout):
	}
	p.kill()
}

// kill ends the server and its children at once, by the number of their group,
// and waits until none of them listens any more: a child may outlive the server
// by a moment.
func (p *process) kill() {
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.ended
	poll(stopTimeout, func() error {
		for _, l := range p.listens {
			if c, err := net.DialTimeout(l.network, l.address, time.Second); err == nil {
				c.Close()
				return errAlive
			}
		}
		return nil
	})
}

// listener is where a server listens.
type listener struct{ network, address string }

// logged is what the server logged, for the message of a test.
func logged(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b))
}

// startAgain starts a server, and once more if another process was quicker at
// the port.
func startAgain(t testing.TB, log string, try func() (*process, error)) *process {
	t.Helper()
	var err error
	for range 3 {
		var p *process
		if p, err = try(); err == nil {
			return p
		}
		if !strings.Contains(logged(log), "in use") {
			break
		}
	}
	t.Fatalf("%v\n%s", err, logged(log))
	return nil
}
