//go:build linux

package sshfp_test

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/build"
	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
	"zonebuild/internal/publish"
	"zonebuild/sshfp"
)

// TestClientBelieves: a real ssh with VerifyHostKeyDNS logs in at a real sshd of
// which it knows nothing but what a zone of ours says, signed and validated by
// an Unbound. Then every set that we warn of, and that it refuses.
func TestClientBelieves(t *testing.T) {
	t.Parallel()
	lab.NeedRoot(t)
	lab.Need(t, "sshd", "ssh", "ssh-keygen", "ssh-keyscan", "nsd", "unbound", "unshare", "mount")
	dir := t.TempDir()
	pub := map[string]string{}
	var keys []string
	for _, name := range []string{"rsa2048", "p256", "p384", "ed25519"} {
		k := keygen(t, dir, name, kinds()[name]...)
		pub[name] = read(t, k+".pub")
		if name != "p384" {
			keys = append(keys, k)
		}
	}
	other := read(t, keygen(t, dir, "other", "-t", "ed25519")+".pub")
	login := keygen(t, dir, "login", "-t", "ed25519")
	port := sshd(t, login+".pub", keys...)
	found := strings.ReplaceAll(scanned(t, port), fmt.Sprintf("[127.0.0.1]:%d", port), "scanned.example.test")

	all := pub["rsa2048"] + pub["p256"] + pub["ed25519"]
	const changed = "REMOTE HOST IDENTIFICATION HAS CHANGED!"
	cases := []struct {
		host, file string
		algorithms string // that the client wants; "" = as it likes
		warning    string // code of the one fault of the file
		refusal    string // of the client; "" = it logs in
	}{
		{"all", all, "", "", ""},
		{"rsa", all, "rsa-sha2-512", "", ""},
		{"p256", all, "ecdsa-sha2-nistp256", "", ""},
		{"ed25519", pub["ed25519"], "", "", ""},
		{"scanned", found, "", "", ""},
		{"wrong", other, "", "", changed},
		{"rotated", all + other, "", "sshfp-two-keys", changed},
		{"curves", all + pub["p384"], "ecdsa-sha2-nistp256", "sshfp-two-keys", changed},
		{"curves-ed25519", all + pub["p384"], "", "sshfp-two-keys", ""},
		{"partial", pub["rsa2048"] + pub["p256"], "", "sshfp-partial", changed},
		{"none", "", "", "", "No ED25519 host key is known"},
	}

	tree := map[string]string{
		"soa/example.test":     "$TTL 1h\n@ SOA ns1 hostmaster 1 2h 30m 4w 1h\n@ NS ns1\n",
		"primary/example.test": "ns1 A 127.0.0.1\n",
	}
	for _, c := range cases {
		tree["primary/example.test"] += c.host + " A 127.0.0.1\n"
		if c.file != "" {
			tree["sshfp/"+c.host+".example.test"] = c.file
		}
	}
	root := filepath.Join(dir, "tree")
	set := buildTree(t, root, tree)
	codes := map[string]string{}
	for _, h := range set.Hosts {
		for _, f := range h.Faults {
			codes[strings.TrimSuffix(h.Name.String(), ".example.test.")] += f.Code
		}
	}
	resolv := resolver(t, root)

	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	ssh := func(host, resolv, algorithms string) (string, bool) {
		args := []string{"-v", "-F", "none", "-i", login, "-l", me.Username, "-p", strconv.Itoa(port)}
		for _, o := range []string{
			"VerifyHostKeyDNS=yes", "StrictHostKeyChecking=yes", "UserKnownHostsFile=/dev/null", "GlobalKnownHostsFile=/dev/null",
			"BatchMode=yes", "IdentitiesOnly=yes", "ConnectTimeout=20",
		} {
			args = append(args, "-o", o)
		}
		if algorithms != "" {
			args = append(args, "-o", "HostKeyAlgorithms="+algorithms)
		}
		args = append(args, host+".example.test", "echo", "logged", "in")
		script := `mount --bind "$1" /etc/resolv.conf && shift && exec ssh "$@"`
		return lab.Try(t, "unshare", append([]string{"-m", "sh", "-c", script, "sh", resolv}, args...)...)
	}
	trusting := filepath.Join(dir, "resolv.conf")
	write(t, trusting, "nameserver "+resolv+"\noptions edns0 trust-ad\n")
	for _, c := range cases {
		t.Run(c.host, func(t *testing.T) {
			if codes[c.host] != c.warning {
				t.Errorf("we say %q, want %q", codes[c.host], c.warning)
			}
			said, ok := ssh(c.host, trusting, c.algorithms)
			if c.refusal == "" {
				if !ok || !strings.Contains(said, "matching host key fingerprint found in DNS") || !strings.Contains(said, "logged in") {
					t.Errorf("refused:\n%s", said)
				}
			} else if ok || !strings.Contains(strings.ToLower(said), strings.ToLower(c.refusal)) || strings.Contains(said, "logged in") {
				t.Errorf("want %q:\n%s", c.refusal, said)
			}
		})
	}

	// The fingerprint counts because the answer is secure, and only then.
	doubting := filepath.Join(dir, "resolv.conf.no-ad")
	write(t, doubting, "nameserver "+resolv+"\n")
	if said, ok := ssh("all", doubting, ""); ok || !strings.Contains(said, "insecure fingerprints in DNS") || !strings.Contains(said, "Host key verification failed.") {
		t.Errorf("without the AD bit:\n%s", said)
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// buildTree makes a tree with keys and builds it with the host keys in sshfp/.
func buildTree(t testing.TB, root string, files map[string]string) *sshfp.Set {
	t.Helper()
	for path, text := range files {
		write(t, filepath.Join(root, path), text)
	}
	now := time.Now().UTC().Truncate(time.Second)
	tree, faults, err := build.Open(root)
	if err != nil || faults.HasErrors() {
		t.Fatalf("%v %v", err, faults)
	}
	defer tree.Close()
	for _, apex := range tree.MissingKeys() {
		if _, err := tree.MakeKeys(apex, build.KeyOptions{Now: now}); err != nil {
			t.Fatal(err)
		}
	}
	report, err := tree.Build(t.Context(), build.Options{Now: now, NewZone: true, Server: &publish.None{}, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil || report.Code != 0 {
		t.Fatalf("%v %+v", err, report)
	}
	return sshfp.Scan(sshfp.Options{Dir: filepath.Join(root, "sshfp")}, zoneOf)
}

// zoneOf knows one zone.
func zoneOf(name domain.Name) (domain.Name, bool) {
	apex := domain.MustParse("example.test")
	return apex, name.IsWithin(apex)
}

// resolver serves signed/ and gives an address of the loopback interface at which
// a validating resolver answers on port 53, as resolv.conf wants it.
func resolver(t testing.TB, root string) string {
	t.Helper()
	d := lab.NSD(t, lab.NSDOptions{Dir: filepath.Join(root, "signed"), Zones: []string{"example.test"}})
	var anchors []string
	for _, rr := range lab.Query(t, d.Addr(), "example.test", "DNSKEY", lab.TCP).Answer {
		if k, ok := rr.(*dns.DNSKEY); ok && k.Flags&dns.SEP != 0 {
			anchors = append(anchors, k.String())
		}
	}
	if len(anchors) == 0 {
		t.Fatal("no DNSKEY")
	}
	addr := freeAddress(t)
	r := lab.Unbound(t, lab.UnboundOptions{
		Stubs: map[string]string{"example.test": d.Addr()}, Anchors: anchors, Server: "\tinterface: " + addr + "@53\n",
	})
	m := lab.Query(t, net.JoinHostPort(addr, "53"), "all.example.test", "SSHFP", lab.RD|lab.AD)
	if !m.AuthenticatedData || len(m.Answer) != 3 {
		t.Fatalf("%v\n%s", m, r.Log())
	}
	return addr
}

// freeAddress is an address of the loopback interface on whose port 53 nobody
// listens.
func freeAddress(t testing.TB) string {
	t.Helper()
	for i := 2; i < 250; i++ {
		addr := fmt.Sprintf("127.%d.83.%d", 1+os.Getpid()%250, i)
		at := net.JoinHostPort(addr, "53")
		l, err := net.Listen("tcp", at)
		if err != nil {
			continue
		}
		c, err := net.ListenPacket("udp", at)
		l.Close()
		if err != nil {
			continue
		}
		c.Close()
		return addr
	}
	t.Fatal("no address of the loopback interface has a free port 53")
	return ""
}
