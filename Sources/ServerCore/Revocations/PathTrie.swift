/// Which values lie at or above a path, by whole segments. The cost of asking is that of the path, however many
/// values there are.
struct PathTrie: Sendable {
    private struct Node: Sendable {
        var children: [Substring: Node] = [:]
        var values: [String] = []

        var isEmpty: Bool { self.children.isEmpty && self.values.isEmpty }
    }

    private var root = Node()

    var isEmpty: Bool { self.root.isEmpty }

    /// - Parameter path: begins with a slash and ends without one.
    mutating func insert(_ value: String, at path: String) {
        Self.change(&self.root, Self.segments(path)[...]) { $0.append(value) }
    }

    mutating func remove(_ value: String, at path: String) {
        Self.change(&self.root, Self.segments(path)[...]) { values in
            values.removeAll { $0 == value }
        }
    }

    /// The values at the path and at every path above it.
    func values(above path: String) -> [String] {
        if self.isEmpty { return [] }
        var node = self.root
        var result = node.values
        for segment in Self.segments(path) {
            guard let next = node.children[segment] else { break }
            result += next.values
            node = next
        }
        return result
    }

    private static func segments(_ path: String) -> [Substring] { path.split(separator: "/") }

    private static func change(
        _ node: inout Node, _ segments: ArraySlice<Substring>, _ body: (inout [String]) -> Void
    ) {
        guard let segment = segments.first else { return body(&node.values) }
        // A key of its own, so that no path's storage is kept for one segment.
        let key = Substring(String(segment))
        var child = node.children[key] ?? Node()
        self.change(&child, segments.dropFirst(), body)
        node.children[key] = child.isEmpty ? nil : child
    }
}
