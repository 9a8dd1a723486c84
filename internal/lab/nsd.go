package lab

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/domain"
)

// NSDOptions say how an NSD is set up. The zero value is a server without
// zones that reads zone files from a directory of the test.
type NSDOptions struct {
	Dir       string            // directory of the zone files; "" = a new one
	Zones     []string          // zones of nsd.conf; the file of each is Dir/NAME as domain.Name.FileName has it
	Patterns  map[string]string // patterns for addzone: name and lines, such as "zonefile: \"%s\""
	Server    string            // more lines of the server: clause
	Config    string            // more clauses
	Verbosity int               // 0 = 2
}

// NSDServer is a running NSD of the test's.
type NSDServer struct {
	t       testing.TB
	dir     string
	work    string
	addr    string
	options NSDOptions
	process *process
}

// NSD starts an NSD as the current user, without rate limits, ended with the
// test. It needs the program nsd.
func NSD(t testing.TB, o NSDOptions) *NSDServer {
	t.Helper()
	Need(t, "nsd")
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	s := &NSDServer{t: t, dir: o.Dir, work: shortDir(t), options: o}
	t.Cleanup(s.Kill)
	// It may give up its rights and then makes a directory there.
	for dir, mode := range map[string]os.FileMode{s.work: 0o711, filepath.Join(s.work, "xfr"): 0o777} {
		if err := os.MkdirAll(dir, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, mode); err != nil { // whatever the umask
			t.Fatal(err)
		}
	}
	s.process = startAgain(t, s.logPath(), func() (*process, error) {
		s.addr = net.JoinHostPort("127.0.0.1", fmt.Sprint(FreePort(t)))
		writeFile(t, s.Config(), s.settings())
		return s.start()
	})
	return s
}

// Addr is where it answers, UDP and TCP: 127.0.0.1:PORT.
func (s *NSDServer) Addr() string { return s.addr }

// Control is the path of the control socket.
func (s *NSDServer) Control() string { return filepath.Join(s.work, "ctl") }

// Dir is the directory of the zone files.
func (s *NSDServer) Dir() string { return s.dir }

// ZoneFile is the path of a zone's file.
func (s *NSDServer) ZoneFile(zone string) string {
	return filepath.Join(s.dir, domain.MustParse(zone).FileName())
}

// Log is what the server has logged so far.
func (s *NSDServer) Log() string { return logged(s.logPath()) }

// Stop ends the server in good order, Kill at once. Neither minds if it is not running.
func (s *NSDServer) Stop() {
	if s.process != nil {
		s.process.stop()
		s.process = nil
	}
}

// Kill ends the server as a crash would.
func (s *NSDServer) Kill() {
	if s.process != nil {
		s.process.kill()
		s.process = nil
	}
}

// Restart starts the server again at the same address.
func (s *NSDServer) Restart() {
	s.t.Helper()
	s.Stop()
	s.process = startAgain(s.t, s.logPath(), s.start)
}

func (s *NSDServer) start() (*process, error) {
	program, _ := find("nsd")
	listens := []listener{{"unix", s.Control()}, {"tcp", s.addr}}
	return start(program, s.logPath(), []string{"-d", "-c", s.Config()}, listens, s.ready)
}

// ready asks over the control socket, which the server opens when it has
// loaded its zones, and looks whether it listens.
func (s *NSDServer) ready() error {
	c, err := net.DialTimeout("unix", s.Control(), time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "NSDCT1 status\n"); err != nil {
		return err
	}
	if _, err := io.ReadAll(c); err != nil {
		return err
	}
	_, err = exchange(s.addr, "version.bind.", "TXT", CH|TCP)
	return err
}

// Config is the path of its configuration.
func (s *NSDServer) Config() string  { return filepath.Join(s.work, "nsd.conf") }
func (s *NSDServer) logPath() string { return filepath.Join(s.work, "log") }

func (s *NSDServer) settings() string {
	host, port, _ := net.SplitHostPort(s.addr)
	verbosity := s.options.Verbosity
	if verbosity == 0 {
		verbosity = 2
	}
	var b strings.Builder
	fmt.Fprintf(&b, `server:
	ip-address: %s
	port: %s
	server-count: 1
	username: ""
	chroot: ""
	database: ""
	zonesdir: %q
	pidfile: "%[4]s/pid"
	xfrdfile: "%[4]s/xfrd"
	xfrdir: "%[4]s/xfr"
	zonelistfile: "%[4]s/zones"
	verbosity: %[5]d
	rrl-ratelimit: 0
	rrl-whitelist-ratelimit: 0
	tcp-count: 200
	zonefiles-check: yes
	zonefiles-write: 0
%[6]s
remote-control:
	control-enable: yes
	control-interface: %[7]q
`, host, port, s.dir, s.work, verbosity, s.options.Server, s.Control())
	names := make([]string, 0, len(s.options.Patterns))
	for name := range s.options.Patterns {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "pattern:\n\tname: %q\n\t%s\n", name, s.options.Patterns[name])
	}
	for _, zone := range s.options.Zones {
		fmt.Fprintf(&b, "zone:\n\tname: %q\n\tzonefile: %q\n", zone, s.ZoneFile(zone))
	}
	b.WriteString(s.options.Config)
	return b.String()
}
