package main

import (
	"chainfire/node"
	"chainfire/object"
)

func objectsOf(n *node.Node) object.Service {
	if m, ok := any(n).(interface{ Objects() object.Service }); ok {
		return m.Objects()
	}
	return nil
}
