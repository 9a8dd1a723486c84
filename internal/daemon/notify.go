package daemon

import (
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Notify tells systemd how the daemon is (sd_notify(3), sd_watchdog_enabled(3)):
// datagrams of KEY=VALUE lines to the socket that the environment names. A nil
// Notify tells nobody.
type Notify struct {
	addr     string
	watchdog bool
	log      *slog.Logger

	mu     sync.Mutex
	failed bool
	status string
}

// NewNotify reads $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID; nil if there is
// no supervisor.
func NewNotify(getenv func(string) string, pid int, log *slog.Logger) *Notify {
	addr := getenv("NOTIFY_SOCKET")
	if addr == "" {
		return nil
	}
	if strings.HasPrefix(addr, "@") { // an abstract address
		addr = "\x00" + addr[1:]
	}
	n := &Notify{addr: addr, log: log}
	if usec, err := strconv.ParseUint(getenv("WATCHDOG_USEC"), 10, 63); err == nil && usec > 0 {
		of := getenv("WATCHDOG_PID")
		n.watchdog = of == "" || of == strconv.Itoa(pid)
	}
	return n
}

// beat says that the loop turns, and what it does.
func (n *Notify) beat(status string, _ time.Time) {
	if n == nil {
		return
	}
	var lines []string
	if n.watchdog {
		lines = append(lines, "WATCHDOG=1")
	}
	if status != n.status {
		n.status = status
		lines = append(lines, "STATUS="+status)
	}
	if lines != nil {
		n.send(strings.Join(lines, "\n"))
	}
}

// send sends one datagram. A supervisor that does not read is not waited for.
func (n *Notify) send(text string) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	err := func() error {
		c, err := net.Dial("unixgram", n.addr)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			return err
		}
		_, err = fmt.Fprint(c, text)
		return err
	}()
	if err != nil && !n.failed {
		n.log.Warn("notify the supervisor", "err", err)
	}
	n.failed = err != nil
}
