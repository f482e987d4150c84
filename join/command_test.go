package join

import "testing"

func TestStartCommandIsOneLineForAShell(t *testing.T) {
	for want, c := range map[string]StartCommand{
		`chainfire serve --name d --listen-peer 10.0.0.4:2380 --join 10.0.0.1:2380,10.0.0.2:2380 --token "$(chainfire token create --uses 1 --ttl 1h --endpoints 10.0.0.1:2379)"`: {
			Name: "d", Peer: "10.0.0.4:2380", Join: []string{"10.0.0.1:2380", "10.0.0.2:2380"}, TokenFrom: "10.0.0.1:2379",
		},
		`chainfire serve --listen-client h:1 --listen-peer http://h:2 --join a:2 --insecure-listen-remote`: {
			Peer: "h:2", Client: "h:1", Join: []string{"a:2"}, Plain: true, Remote: true,
		},
		`chainfire serve --name 'it'\''s $(rm x)' --listen-peer h:2 --join a:2 --peer-cert-file CERT --peer-key-file KEY --peer-trusted-ca-file CA`: {
			Name: "it's $(rm x)", Peer: "h:2", Join: []string{"a:2"}, Own: true,
		},
	} {
		if got := c.Line(); got != want {
			t.Errorf("the line is\n%s, want\n%s", got, want)
		}
	}
}
