package test

import "fmt"

// engine says which consensus engine a member runs on.
type engine string

const (
	engineOwn  engine = "chainfire"
	engineEtcd engine = "etcd"
	// engineMixed lets members differ, and each change at each start.
	engineMixed engine = "mixed"
)

func (e engine) check() error {
	switch e {
	case engineOwn, engineEtcd, engineMixed:
		return nil
	}
	return fmt.Errorf("-engine %q: give %s, %s or %s", e, engineOwn, engineEtcd, engineMixed)
}

// of is the engine of a member's next start.
func (e engine) of(name string, launches int) string {
	if e != engineMixed {
		return string(e)
	}
	n := launches
	for _, b := range []byte(name) {
		n += int(b)
	}
	return string([]engine{engineOwn, engineEtcd}[n%2])
}

// other is the engine to change to.
func (e engine) other() engine {
	if e == engineEtcd {
		return engineOwn
	}
	return engineEtcd
}
