package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/cli"
	"zonebuild/internal/lab"
)

// ordered is what was signed in the requests for orders.
type ordered struct {
	Profile, Replaces string
}

// orders notes the requests for orders that a CA gets.
func (y *yard) orders(ca *lab.FakeCA) *[]ordered {
	all := &[]ordered{}
	ca.Take = func(_ *lab.FakeCA, w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/newOrder" {
			return false
		}
		body, err := io.ReadAll(r.Body)
		var jws struct{ Payload string }
		var text []byte
		var o ordered
		if err == nil {
			err = json.Unmarshal(body, &jws)
		}
		if err == nil {
			text, err = base64.RawURLEncoding.DecodeString(jws.Payload)
		}
		if err == nil {
			err = json.Unmarshal(text, &o)
		}
		if err != nil {
			y.t.Error(err)
		}
		*all = append(*all, o)
		r.Body = io.NopCloser(bytes.NewReader(body))
		return false
	}
	return all
}

// TestFromTrials: the certificate of a CA for trials is replaced as soon as acmehook.toml
// names another CA, which is not told of it; the way back is for who says so.
func TestFromTrials(t *testing.T) {
	y := newYard(t)
	staging, ca := lab.NewFakeCA(t), lab.NewFakeCA(t)
	y.ages(staging)
	y.ages(ca)
	at := func(ca *lab.FakeCA, more string) {
		t.Helper()
		y.write("acmehook.toml", y.general()+account(ca)+"staging = \""+staging.Directory()+"\"\n[line.mail]\nnames = [\"example.org\"]\n"+more)
		y.does(cli.ExitOK, "init")
	}
	at(staging, "")
	y.does(cli.ExitOK, "issue", "mail")
	y.does(cli.ExitOK, "run")
	key := y.spki("lines/mail/live/cert.pem")

	at(ca, "")
	got := y.orders(ca)
	y.past += 2 * time.Minute // a certificate that has just come is not replaced at once by a timer
	const why = "the live certificate is of another CA, "
	if s := y.status(); !strings.Contains(fmt.Sprint(s.Due), why+staging.Directory()) {
		t.Errorf("%+v", s)
	}
	y.says(cli.ExitOK, why, "run")
	y.does(cli.ExitOK, "run")
	if s := y.status(); s.Generation != 2 || len(*got) != 1 || (*got)[0].Replaces != "" || y.spki("lines/mail/live/cert.pem") != key {
		t.Fatalf("%+v %+v", s, *got)
	}

	// A changed profile or issuer is one reason each, and once.
	for i, table := range []string{"profile = \"tlsserver\"\n", "profile = \"tlsserver\"\nissuer = \"nobody\"\n"} {
		at(ca, table)
		y.past += 24 * time.Hour
		y.says(cli.ExitOK, []string{"the profile has changed", "the wanted issuer has changed"}[i], "run")
		y.past += 24 * time.Hour
		y.does(cli.ExitOK, "run")
		if s := y.status(); s.Generation != 3+i || len(*got) != 2+i || (*got)[1+i].Replaces == "" || (*got)[1+i].Profile != "tlsserver" {
			t.Fatalf("%+v %+v", s, *got)
		}
	}

	at(staging, "")
	before := staging.Asked("/newOrder")
	y.past += 24 * time.Hour
	if said := y.does(cli.ExitOK, "run"); said != "" || staging.Asked("/newOrder") != before {
		t.Errorf("%q", said)
	}
	if s := y.status(); s.Generation != 4 || !strings.Contains(fmt.Sprint(s.Waits), "is for trials: acmehook issue mail") {
		t.Errorf("%+v", s)
	}
	y.says(cli.ExitOK, why+ca.Directory(), "issue", "mail")
	if s := y.status(); s.Generation != 5 || staging.Asked("/newOrder") != before+1 {
		t.Errorf("%+v", s)
	}
}
