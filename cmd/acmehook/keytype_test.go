package main

import (
	"crypto/x509"
	"testing"
	"time"

	"zonebuild/internal/cli"
	"zonebuild/internal/lab"
)

// TestKeyType: a type of keys that the CA refuses, as Let's Encrypt and Pebble refuse
// Ed25519, is asked for no more when the configuration has another one: before the first
// certificate, and with a live one.
func TestKeyType(t *testing.T) {
	y := newYard(t)
	ca := lab.PebbleWith(t, y.addr, lab.PebbleOptions{})
	line := func(kind string) { y.configure(ca, mail+"dane = false\nkey-type = \""+kind+"\"\n") }
	is := func(want x509.PublicKeyAlgorithm) {
		t.Helper()
		if got := y.leaf().PublicKeyAlgorithm; got != want {
			t.Fatalf("a key of %s, want %s", got, want)
		}
	}
	line("ed25519")
	y.does(cli.ExitOK, "init")
	y.does(cli.ExitFailed, "issue", "mail")
	line("ecdsa-p256")
	y.says(cli.ExitOK, "make-key: the next key is not of key-type", "issue", "mail")
	is(x509.ECDSA)
	first := y.spki("lines/mail/live/cert.pem")

	line("ed25519")
	y.does(cli.ExitOK, "run")
	y.does(cli.ExitOK, "rollover", "mail")
	y.does(cli.ExitFailed, "run")
	line("ecdsa-p256")
	y.past += 25 * time.Hour
	y.does(cli.ExitOK, "run")
	is(x509.ECDSA)
	second := y.spki("lines/mail/live/cert.pem")
	if second == first {
		t.Fatalf("%+v", y.status())
	}

	line("ed25519")
	y.does(cli.ExitOK, "run")
	y.does(cli.ExitFailed, "renew", "mail", "--force-new-key", "--i-accept-dane-breakage")
	line("rsa-2048")
	y.does(cli.ExitOK, "renew", "mail", "--force-new-key", "--i-accept-dane-breakage")
	is(x509.RSA)
	y.does(cli.ExitOK, "run")
	if said := y.does(cli.ExitOK, "run"); said != "" {
		t.Errorf("it says %q", said)
	}
}
