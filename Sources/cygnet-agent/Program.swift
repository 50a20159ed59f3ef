import AgentProgram
import Foundation

/// One per node: attests the node and its workloads and serves the Workload API. Started as `spire-agent` it is
/// the same program.
@main
enum Program {
    static func main() async {
        let arguments = CommandLine.arguments
        let name = arguments.first.map { ($0 as NSString).lastPathComponent } ?? "cygnet-agent"
        let code = await AgentCommandLine.main(
            arguments: Array(arguments.dropFirst()), program: name, run: AgentDaemon.run)
        exit(code)
    }
}
