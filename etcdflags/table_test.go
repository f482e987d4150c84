package etcdflags

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/server/v3/embed"
)

var write = flag.Bool("write", false, "write the page of the flags")

const pagePath = "../docs/reference/etcd-flags.md"

func TestThePageIsAPrintOfTheTable(t *testing.T) {
	if *write {
		if err := os.WriteFile(pagePath, []byte(Page()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(pagePath)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(Page(), string(b)); d != "" {
		t.Errorf("%s is not what the table says; 'go generate ./etcdflags' writes it:\n%s", pagePath, d)
	}
}

// ofEtcdMain are the flags that etcd adds where embed.Config has none.
var ofEtcdMain = []string{"config-file", "discovery-fallback", "initial-cluster-state", "v2-deprecation", "version"}

func TestTheTableHasEveryFlagOfEtcdWithItsDefault(t *testing.T) {
	theirs := flag.NewFlagSet("etcd", flag.ContinueOnError)
	embed.NewConfig().AddFlags(theirs)
	ours := map[string]Flag{}
	for _, f := range Flags() {
		if _, twice := ours[f.Name]; twice {
			t.Errorf("--%s is in the table twice", f.Name)
		}
		ours[f.Name] = f
	}
	theirs.VisitAll(func(f *flag.Flag) {
		o, there := ours[f.Name]
		if !there {
			t.Errorf("--%s of etcd is not in the table", f.Name)
			return
		}
		if got := o.Default(); got != f.DefValue {
			t.Errorf("--%s is %q by default, with etcd %q", f.Name, got, f.DefValue)
		}
		delete(ours, f.Name)
	})
	for name, f := range ours {
		if !slices.Contains(ofEtcdMain, name) && f.Group != groupGone && f.Does != Own {
			t.Errorf("--%s is in the table, and etcd has no such flag", name)
		}
	}
}

func TestEveryRowSaysWhatItHasToSay(t *testing.T) {
	for _, f := range Flags() {
		if f.Help == "" || (f.Note == "") != (f.Does == Same) {
			t.Errorf("--%s, %s: help %q, note %q", f.Name, f.Does, f.Help, f.Note)
		}
		if strings.ContainsAny(f.Help+f.Note, "|\n") {
			t.Errorf("--%s does not fit into a row of the page", f.Name)
		}
	}
}

func TestHelpNamesEveryFlagThatMeansSomething(t *testing.T) {
	help := Help()
	for _, f := range Flags() {
		if f.Group != groupGone && !strings.Contains(help, "  --"+f.Name+" '") {
			t.Errorf("--%s is not in the help", f.Name)
		}
	}
}
