package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"zonebuild/internal/acmeclient"
	"zonebuild/internal/cli"
	"zonebuild/internal/config"
	"zonebuild/internal/diag"
	"zonebuild/internal/durable"
	"zonebuild/internal/lines"
)

func (p *program) initCommand() *ucli.Command {
	return &ucli.Command{
		Name: "init", Usage: "make the account at the CA, or find the one that the key has",
		Description: "Makes the account's key if there is none, and prints the account's URL and CAA records\nthat allow certificates to this account by dns-01 alone (RFC 8657).\n\nExample: acmehook -C /jail init",
		Flags:       []ucli.Flag{jsonFlag()},
		Action: func(c *ucli.Context) error {
			h, err := p.load(c)
			if err != nil {
				return err
			}
			return h.locked(c.Context, func() error { return h.register(c) })
		},
	}
}

func (h *hook) register(c *ucli.Context) error {
	a := h.config.Account
	if a == nil {
		return cli.Rejectedf("acmehook.toml has no [account]")
	}
	if _, err := os.Stat(a.Key); errors.Is(err, os.ErrNotExist) {
		key, err := lines.NewKey("ecdsa-p256")
		if err != nil {
			return err
		}
		if err := lines.WriteKey(a.Key, key); err != nil {
			return err
		}
	}
	client, err := h.client()
	if err != nil {
		return err
	}
	eab, err := readEAB(a.EABKeyID, a.EABKeyFile)
	if err != nil {
		return err
	}
	account, err := client.Register(c.Context, acmeclient.Registration{Contact: a.Contact, TermsAgreed: a.AgreeTerms, EAB: eab})
	if errors.Is(err, acmeclient.ErrTerms) && !a.AgreeTerms {
		return cli.WithCode(cli.ExitRejected, fmt.Errorf("%w (agree-terms = true in [account] agrees)", err))
	}
	if err != nil {
		return h.advise(err)
	}
	for _, l := range h.config.Lines {
		if len(l.Services) == 0 && !l.NoDANE {
			fmt.Fprintf(h.err, "acmehook: line %s: it has no services, so no TLSA records are looked at, and its key never changes (dane = false if nobody has any)\n", l.Name)
		}
	}
	records, err := h.caa(c.Context, client, account.URL)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return h.printer(c).Report(struct {
			Account string   `json:"account"`
			Created bool     `json:"created"`
			CAA     []string `json:"caa"`
		}{account.URL, account.Created, records})
	}
	fmt.Fprintln(h.out, diag.Escape(account.URL))
	for _, r := range records {
		fmt.Fprintln(h.out, diag.Escape(r))
	}
	return nil
}

// caa are the records that allow the names of the lines to this account alone.
func (h *hook) caa(ctx context.Context, client *acmeclient.Client, account string) ([]string, error) {
	d, err := client.Directory(ctx)
	out := []string{}
	if err != nil || len(d.CAA) == 0 || strings.ContainsAny(account+d.CAA[0], "\"\\; ") {
		return out, err
	}
	seen := map[string]bool{}
	for _, l := range h.config.Lines {
		for _, name := range l.Names {
			tag := "issue"
			if rest, ok := strings.CutPrefix(name, "*."); ok {
				name, tag = rest, "issuewild"
			}
			r := fmt.Sprintf("%s. CAA 0 %s \"%s; validationmethods=dns-01; accounturi=%s\"", name, tag, d.CAA[0], account)
			if !seen[r] {
				out = append(out, r)
			}
			seen[r] = true
		}
	}
	return out, nil
}

// readEAB reads the key of an external account binding. No error quotes it.
func readEAB(id, file string) (*acmeclient.EAB, error) {
	if id == "" {
		return nil, nil
	}
	text, info, err := durable.ReadFile(file, 4096)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("read %s: its mode is %04o, others may read it: chmod 600", file, info.Mode().Perm())
	}
	key, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(string(text)), "="))
	if err != nil || len(key) == 0 {
		return nil, cli.Rejectedf("read %s: it is no base64url", file)
	}
	return &acmeclient.EAB{KeyID: id, Key: key}, nil
}

func (p *program) accountCommand() *ucli.Command {
	return &ucli.Command{
		Name: "account", Usage: "update the contacts at the CA, or end the account for ever", ArgsUsage: "update|deactivate",
		Description: "update sends the contacts of acmehook.toml.\n\nExample: acmehook -C /jail account update",
		Action: func(c *ucli.Context) error {
			what := c.Args().First()
			if c.NArg() != 1 || what != "update" && what != "deactivate" {
				return cli.Usagef("account needs one word: update or deactivate")
			}
			h, err := p.load(c)
			if err != nil {
				return err
			}
			return h.locked(c.Context, func() error {
				client, err := h.client()
				switch {
				case err != nil:
					return err
				case what == "deactivate":
					return h.advise(client.Deactivate(c.Context))
				}
				_, err = client.UpdateContact(c.Context, h.config.Account.Contact)
				return h.advise(err)
			})
		},
	}
}

func (p *program) revokeCommand() *ucli.Command {
	return &ucli.Command{
		Name: "revoke", Usage: "revoke the live certificate of a line", ArgsUsage: "NAME",
		Description: "Where the account may not, because another one ordered it or it is gone, the certificate's\nown key does. The next run renews; after keyCompromise with the next key alone, as soon as DNS allows it.\nReasons: unspecified, keyCompromise,\naffiliationChanged, superseded, cessationOfOperation.\n\nExample: acmehook -C /jail revoke mail --reason superseded",
		Flags:       []ucli.Flag{&ucli.StringFlag{Name: "reason", Value: "unspecified", Usage: "`REASON` (RFC 5280)"}},
		Action: func(c *ucli.Context) error {
			h, line, err := p.oneLine(c, false)
			if err != nil {
				return err
			}
			reason, err := acmeclient.ParseReason(c.String("reason"))
			if err != nil {
				return cli.Usagef("--reason: %s", err)
			}
			return h.locked(c.Context, func() error {
				files, err := lines.PathsOf(h.config, line.Name).Read(line)
				switch {
				case err != nil:
					return err
				case files.Live == nil:
					return cli.Rejectedf("line %s: there is no certificate", line.Name)
				}
				state, err := lines.LoadState(h.config, line.Name)
				switch was := state.Revoked; {
				case err != nil:
					return err
				case was.Cert == files.Live.ID() && was.Reason == c.String("reason"):
					return cli.Rejectedf("line %s: the live certificate was revoked at %s", line.Name, was.At.Format(time.RFC3339))
				}
				if err := h.revoke(c.Context, line, files.Live, reason); err != nil {
					return err
				}
				k := &lines.Keeper{Config: h.config, Now: h.clock}
				return k.Revoke(line, files.Live, c.String("reason"), reason == acmeclient.KeyCompromise)
			})
		},
	}
}

// revoke asks the CA in the account's name; where that may not, with the certificate's
// own key, which needs no account (RFC 8555 §7.6).
func (h *hook) revoke(ctx context.Context, l config.Line, g *lines.Generation, reason acmeclient.Reason) error {
	client, err := h.client()
	if err == nil {
		err = client.Revoke(ctx, g.Leaf(), reason, nil)
	}
	if !errors.Is(err, acmeclient.ErrUnauthorized) && !errors.Is(err, acmeclient.ErrNoAccount) && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	key, missing := lines.PathsOf(h.config, l.Name).LiveKey(g)
	if missing == nil && client == nil { // any key makes a client: no request is signed with it
		config := h.clientConfig()
		config.Store = &memory{records: map[string][]byte{}}
		if config.Key, missing = lines.NewKey("ecdsa-p256"); missing == nil {
			client, missing = acmeclient.New(config)
		}
	}
	if missing != nil {
		return errors.Join(h.advise(err), fmt.Errorf("revoke with the certificate's own key: %w", missing))
	}
	if own := client.Revoke(ctx, g.Leaf(), reason, key); own != nil {
		return errors.Join(h.advise(err), fmt.Errorf("with the certificate's own key: %w", own))
	}
	return nil
}

// advise says what the operator can do about an error of the account, or of its orders.
func (h *hook) advise(err error) error {
	switch {
	case errors.Is(err, acmeclient.ErrNoAccount):
		return fmt.Errorf("%w (acmehook init makes one)", err)
	case errors.Is(err, acmeclient.ErrAccountOver):
		return fmt.Errorf("%w (for ever: put %s away, and acmehook init makes another)", err, h.config.Account.Key)
	case errors.Is(err, acmeclient.ErrTooManyOrders):
		return fmt.Errorf("%w (renew NAME --force --beyond-limits makes it all the same, if the CA does)", err)
	case errors.Is(err, acmeclient.ErrEAB):
		return fmt.Errorf("%w (eab-key-id and eab-key-file in [account])", err)
	}
	return err
}

// adviser is a CA whose errors of the account come with advice.
type adviser struct {
	*acmeclient.Client
	hook *hook
}

// Obtain is the client's.
func (a adviser) Obtain(ctx context.Context, s acmeclient.Solver, r acmeclient.Request) (*acmeclient.Certificate, error) {
	got, err := a.Client.Obtain(ctx, s, r)
	return got, a.hook.advise(err)
}

// Resume is the client's.
func (a adviser) Resume(ctx context.Context, s acmeclient.Solver, name string) (*acmeclient.Certificate, error) {
	got, err := a.Client.Resume(ctx, s, name)
	return got, a.hook.advise(err)
}
