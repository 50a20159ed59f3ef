import SwiftProtobuf

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Finds descriptors of `.proto` files by name and by what they declare.
struct DescriptorIndex: Sendable {
    /// What the index cannot find.
    struct NotFound: Error, Equatable {
        let message: String
    }

    private struct File {
        let name: String
        let bytes: [UInt8]
        let imports: [String]
    }

    /// The full names of all services, sorted.
    let services: [String]
    private let files: [String: File]
    /// Full names without a leading dot → the file that declares them.
    private let fileBySymbol: [String: String]
    private let messages: Set<String>

    /// - Parameter descriptorSet: A serialised `google.protobuf.FileDescriptorSet`.
    /// - Throws: When the bytes are not one.
    init(descriptorSet: some Sequence<UInt8>) throws {
        let set = try Google_Protobuf_FileDescriptorSet(serializedBytes: Array(descriptorSet))
        var files: [String: File] = [:]
        var symbols = Symbols()
        for file in set.file {
            files[file.name] = File(
                name: file.name, bytes: try file.serializedBytes(), imports: file.dependency)
            symbols.add(file)
        }
        self.files = files
        self.fileBySymbol = symbols.fileByName
        self.messages = symbols.messages
        self.services = symbols.services.sorted()
    }

    /// The file with this name and all that it imports, each before those that it imports.
    func files(named name: String) throws(NotFound) -> [(name: String, bytes: [UInt8])] {
        guard self.files[name] != nil else {
            throw NotFound(message: "no file \(Self.quoted(name)) here")
        }
        var found: [(name: String, bytes: [UInt8])] = []
        var seen: Set<String> = [name]
        var next = [name]
        while let name = next.popLast() {
            guard let file = self.files[name] else { continue }
            found.append((file.name, file.bytes))
            for imported in file.imports where seen.insert(imported).inserted {
                next.append(imported)
            }
        }
        return found
    }

    /// The name of the file that declares a service, method, message, field or enum.
    ///
    /// - Parameter symbol: The full name; a leading dot is allowed.
    func file(declaring symbol: String) throws(NotFound) -> String {
        guard let file = self.fileBySymbol[Self.withoutDot(symbol)] else {
            throw NotFound(message: "nothing is called \(Self.quoted(symbol)) here")
        }
        return file
    }

    /// Checks that there is such a message. None of ours has extensions: proto3 knows them for options only.
    func requireMessage(_ name: String) throws(NotFound) {
        guard self.messages.contains(Self.withoutDot(name)) else {
            throw NotFound(message: "no message is called \(Self.quoted(name)) here")
        }
    }

    private static func withoutDot(_ name: String) -> String {
        name.hasPrefix(".") ? String(name.dropFirst()) : name
    }

    /// At most 100 characters of a name from outside.
    private static func quoted(_ name: String) -> String {
        "\"" + (name.count > 100 ? name.prefix(100) + "…" : name[...]) + "\""
    }
}

/// The full names of everything that a file declares.
private struct Symbols {
    var fileByName: [String: String] = [:]
    var messages: Set<String> = []
    var services: [String] = []

    mutating func add(_ file: Google_Protobuf_FileDescriptorProto) {
        let scope = file.package.isEmpty ? "" : file.package + "."
        for service in file.service {
            let name = scope + service.name
            self.services.append(name)
            self.fileByName[name] = file.name
            for method in service.method {
                self.fileByName[name + "." + method.name] = file.name
            }
        }
        for message in file.messageType { self.add(message, scope, file.name) }
        for list in file.enumType { self.add(list, scope, file.name) }
    }

    private mutating func add(
        _ message: Google_Protobuf_DescriptorProto, _ scope: String, _ file: String
    ) {
        let name = scope + message.name
        self.messages.insert(name)
        self.fileByName[name] = file
        for field in message.field { self.fileByName[name + "." + field.name] = file }
        for choice in message.oneofDecl { self.fileByName[name + "." + choice.name] = file }
        for list in message.enumType { self.add(list, name + ".", file) }
        // As deep as protoc lets files nest; the files are ours.
        for nested in message.nestedType { self.add(nested, name + ".", file) }
    }

    /// Values of an enum are siblings of the enum, not its children.
    private mutating func add(
        _ list: Google_Protobuf_EnumDescriptorProto, _ scope: String, _ file: String
    ) {
        self.fileByName[scope + list.name] = file
        for value in list.value { self.fileByName[scope + value.name] = file }
    }
}
