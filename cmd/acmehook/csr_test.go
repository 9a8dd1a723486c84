package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/acmeclient"
	"zonebuild/internal/cli"
	"zonebuild/internal/lab"
)

// request writes a certificate request, and gives its key by digest of the public half.
func (y *yard) request(name string, names ...string) string {
	y.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		y.t.Fatal(err)
	}
	der, err := acmeclient.NewCSR(key, names)
	if err != nil {
		y.t.Fatal(err)
	}
	y.write(name, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})))
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		y.t.Fatal(err)
	}
	y.write(name+".pub", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})))
	return y.spki(name + ".pub")
}

// TestToRequests: a line whose keys were made here gets a request of one that was not:
// the key changes when DNS allows it, renews as it is until then, and it is said.
func TestToRequests(t *testing.T) {
	y := pinned(t, 3600)
	text := y.read("acmehook.toml")
	first := y.spki("lines/mail/live/cert.pem")
	wanted := y.request("now.csr", "example.org")
	y.write("acmehook.toml", strings.Replace(text, "services = [", "csr = \"now.csr\"\nservices = [", 1))
	y.says(cli.ExitOK, "make-key: a next key is wanted", "run")
	y.does(cli.ExitOK, "rollover", "mail")
	if s := y.status(); !strings.Contains(fmt.Sprint(s.Waits), "lacks those of the next key") || y.spki("lines/mail/next/pubkey.pem") != wanted {
		t.Fatalf("%+v", s)
	}
	y.does(cli.ExitOK, "renew", "mail", "--force")
	if y.spki("lines/mail/live/cert.pem") != first {
		t.Fatal("it was renewed with another key")
	}
	y.does(cli.ExitOK, "live", "mail")
	y.tlsa(mailOwner, 3600, "live/cert.pem", "next/pubkey.pem")
	for range 3 {
		y.past += 40 * time.Minute
		y.does(cli.ExitOK, "run")
	}
	if s := y.status(); y.spki("lines/mail/live/cert.pem") != wanted {
		t.Fatalf("%+v", s)
	}
	y.does(cli.ExitOK, "live", "mail")
	if said := y.does(cli.ExitOK, "run"); said != "" {
		t.Errorf("it says %q", said)
	}
	y.says(cli.ExitFailed, "a key is changed by a certificate request for another one (csr, next-csr), and there is none", "rollover", "mail")
}

// TestToRequestsAtOnce: where nobody pins keys there is nothing to wait for.
func TestToRequestsAtOnce(t *testing.T) {
	y := newYard(t)
	ca := lab.NewFakeCA(t)
	y.configure(ca, fakeLine+"dane = false\n")
	y.does(cli.ExitOK, "init")
	y.does(cli.ExitOK, "issue", "mail")
	y.does(cli.ExitOK, "run")
	wanted := y.request("now.csr", "example.org")
	y.configure(ca, fakeLine+"dane = false\ncsr = \"now.csr\"\n")
	y.says(cli.ExitOK, "issue: the certificate request has another key", "run")
	if y.spki("lines/mail/live/cert.pem") != wanted {
		t.Errorf("%+v", y.status())
	}
}
