// Package witness holds what clients of a key-value store saw to what one store
// could have shown them: the answers to reads and writes, and the events of
// watches, recorded on one clock. It is pure: whoever runs clients makes a
// History, and Check says what is wrong with it, if anything.
//
// Every revision has its place in one order, and every answer names a revision,
// so that nothing has to be searched for: a revision is what the watches showed,
// a state is the fold of the revisions up to it, and each answer, event and
// progress mark is held to the state that it claims to come from, and to the
// clock. Linearizable looks for an order of the operations with porcupine, as a
// second opinion that believes no watch.
package witness
