package etcdflags

//go:generate go test -run TestThePageIsAPrintOfTheTable -write .
