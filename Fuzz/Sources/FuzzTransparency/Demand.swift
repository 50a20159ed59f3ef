/// Like `precondition`, but says in optimised builds too which one does not hold.
func demand(
    _ isTrue: Bool, _ message: @autoclosure () -> String = "", file: StaticString = #fileID,
    line: UInt = #line
) {
    if !isTrue { fatalError(message(), file: file, line: line) }
}
