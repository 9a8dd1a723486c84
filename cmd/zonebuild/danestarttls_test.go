package main

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"zonebuild/internal/lab"
	"zonebuild/internal/starttls"
)

// TestVerifyDANEStartTLS: each protocol before TLS, with the right key and with
// another one, beside openssl and danetool at the same servers.
func TestVerifyDANEStartTLS(t *testing.T) {
	lab.Need(t, "openssl", "danetool")
	l := newDANELab(t)
	port := fmt.Sprint(l.port)
	addr := map[string]string{}
	next := netip.MustParseAddr("127.0.0.41")
	for _, name := range lab.Talks() {
		for _, host := range []string{name, "not-" + name} {
			full := host + ".signed.lab"
			l.shows(full, l.issue(full, l.mid, l.ecKey(), nil), l.mid)
			r := record(3, 1, 1, l.leaf[full])
			if strings.HasPrefix(host, "not-") {
				r = wrong(3, 1, 1)
			}
			l.host(full, next.String(), r)
		}
		addr[name], next = next.String(), next.Next()
	}
	for _, p := range starttls.Protocols() {
		if _, ok := addr[p.String()]; !ok && p != starttls.Direct {
			t.Errorf("no server speaks %s", p)
		}
	}
	l.start()
	for name, at := range addr {
		lab.TLSServer(t, lab.TLSOptions{Addr: l.at(at), Certs: l.certs, Speak: name})
		t.Run(name, func(t *testing.T) {
			host := name + ".signed.lab"
			(&daneRun{l.args("--starttls", name, host, port), 0, []string{at + " dane-validated successfully"}, nil}).check(t)
			(&daneRun{l.args("--starttls", name, "not-"+host, port), 4, []string{at + " did not dane-validate, because: no matching DANE TLSA records [mismatch]"}, nil}).check(t)
			// Without it, or with another one, nobody gets to the key.
			other := map[bool]string{true: "pop3", false: "imap"}[name == "imap"]
			for _, args := range [][]string{l.args("--starttls", "none", "--timeout", "2s", host, port), l.args("--starttls", other, "--timeout", "2s", host, port)} {
				if code, out, _ := invoke(t, args...); code == 0 || strings.Contains(out, "[mismatch]") {
					t.Errorf("%q: exit %d: %s", args, code, out)
				}
			}
			for _, right := range []bool{true, false} {
				r := record(3, 1, 1, l.leaf[host])
				if !right {
					r = wrong(3, 1, 1)
				}
				said, ok := lab.Try(t, "openssl", "s_client", "-brief", "-verify_return_error", "-CAfile", l.caFile, "-connect", l.at(at),
					"-starttls", strings.TrimSuffix(name, "-client"), "-name", host, "-dane_tlsa_domain", host, "-dane_tlsa_rrdata", r)
				if ok != right {
					t.Errorf("openssl, right record %t: %s", right, said)
				}
			}
		})
	}
	t.Run("danetool", func(t *testing.T) {
		lab.NeedRoot(t)
		lab.Need(t, "unshare", "mount")
		if l.addr53 == "" {
			t.Skip("no address has a port 53 for us")
		}
		resolv := filepath.Join(l.dir, "resolv.conf")
		write(t, resolv, "nameserver "+l.addr53+"\n")
		for name := range addr {
			proto := strings.TrimSuffix(name, "-client")
			if name == "xmpp-server" {
				continue // it has no name for it
			}
			for _, host := range []string{name, "not-" + name} {
				script := `cd "$1" && mount --bind "$2" /etc/resolv.conf && mount --bind "$3" /usr/share/dns/root.key && shift 3 && exec "$@"`
				said, ok := lab.Try(t, "unshare", "-m", "sh", "-c", script, "sh", l.dir, resolv, l.anchor,
					"danetool", "--check", host+".signed.lab", "--port", port, "--proto", "tcp", "--local-dns", "--starttls-proto", proto)
				if ok != (host == name) {
					t.Errorf("danetool of %s: %t: %s", host, ok, said)
				}
			}
		}
	})
}
