import NIOConcurrencyHelpers

/// Keeps what a callback was told, in order.
final class Recorder<Element: Sendable>: Sendable {
    private let elements = NIOLockedValueBox<[Element]>([])

    func append(_ element: Element) { self.elements.withLockedValue { $0.append(element) } }

    var all: [Element] { self.elements.withLockedValue { $0 } }
}
